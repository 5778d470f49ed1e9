/** @file Where intermediates lie in the arena of a large program: nothing that lives is overwritten, and little is wasted. */

import { Session, sessionFootprint } from '@quaver/executor';
import { coreOps, GraphBuilder, type HostTensor, type Module, type Value } from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Block, keptSlotsBytes, layOut } from '../src/code/arena-layout.ts';
import { packBlocks } from '../src/code/pack-blocks.ts';
import { cpuPlugin } from '../src/index.ts';
import { openMetered } from './memory-meter.ts';
import { randomSource, randomTensor } from './same-bits.ts';

const lifetime = fc
  .record({ byteLength: fc.integer({ min: 1, max: 50 }), first: fc.nat(30), length: fc.nat(10) })
  .map(({ byteLength, first, length }) => ({ byteLength, first, last: first + length }));

test('blocks that live at the same time never overlap, whatever shrinks while it lives', () => {
  const shape = fc.array(lifetime, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(shape, { maxLength: 40 }), (blocks) => {
      const { offsets, byteLength } = packBlocks(blocks);
      for (let instruction = 0; instruction <= 40; instruction++) {
        const ranges = blocks.flatMap((parts, i) => {
          const live = parts.filter(({ first, last }) => first <= instruction && instruction <= last);
          const bytes = Math.max(0, ...live.map((part) => part.byteLength));
          return bytes > 0 ? [{ from: offsets[i]!, to: offsets[i]! + bytes }] : [];
        });
        ranges.sort((a, b) => a.from - b.from);
        for (const [i, { from, to }] of ranges.entries()) {
          expect(to).toBeLessThanOrEqual(ranges[i + 1]?.from ?? byteLength);
          expect(from).toBeGreaterThanOrEqual(0);
        }
      }
    }),
  );
});

test('what fits exactly leaves no gap', () => {
  // A chain: each block lives with the next one only. Two of the largest is the least that holds them.
  const chain = Array.from({ length: 20 }, (_, i) => [{ byteLength: 64, first: i, last: i + 1 }]);
  expect(packBlocks(chain).byteLength).toBe(128);
});

describe('in place', () => {
  const large = keptSlotsBytes;
  const areas = { slots: 3 * large, node: 0, 'staged-0': 0, 'staged-1': 0, outside: 0 };
  const block = (byteLength: number, at: number, ...used: readonly number[]) => {
    const made = new Block(byteLength, 'slots', at * large);
    for (const instruction of used) made.use(instruction);
    return made;
  };

  test('a result takes the place of an operand that nobody reads afterwards', () => {
    const [x, y] = [block(large, 0, 0, 1), block(large, 1, 1, 2)];
    expect(layOut([x, y], [{ first: 1, last: 1, operand: x, result: y }], areas)).toBe(large);
    expect(x.offset).toBe(y.offset);
  });

  test('not of one that is read later, nor of one that is smaller', () => {
    const [x, y] = [block(large, 0, 0, 2), block(large, 1, 1, 2)];
    expect(layOut([x, y], [{ first: 1, last: 1, operand: x, result: y }], areas)).toBe(2 * large);
    const [small, wide] = [block(large / 2, 0, 0, 1), block(large, 1, 1, 2)];
    expect(layOut([small, wide], [{ first: 1, last: 1, operand: small, result: wide }], areas)).toBe(1.5 * large);
  });

  test('only one of two operands, and what a narrower result leaves is free again', () => {
    const [a, b, sum] = [block(large, 0, 0, 2), block(large, 1, 1, 2), block(large, 2, 2, 3)];
    const places = [a, b].map((operand) => ({ first: 2, last: 2, operand, result: sum }));
    expect(layOut([a, b, sum], places, areas)).toBe(2 * large);
    const [numbers, codes, after] = [block(large, 0, 0, 4), block(large / 2, 1, 2, 6), block(large / 2, 2, 5, 6)];
    expect(layOut([numbers, codes, after], [{ first: 1, last: 4, operand: numbers, result: codes }], areas)).toBe(
      large,
    );
  });
});

const [tokens, width, vocabulary] = [384, 64, 48_000];
const source = randomSource(5);
const tensors: Readonly<Record<string, HostTensor>> = {
  x: randomTensor(source, 'f32', [tokens, width]),
  head: randomTensor(source, 'f32', [vocabulary, width]),
  slopes: randomTensor(source, 'f32', [tokens]),
  targets: {
    type: { dtype: 'i32', shape: [tokens] },
    data: Int32Array.from({ length: tokens }, (_, i) => (i * 7919) % vocabulary),
  },
};

/** The end of a language model and its gradient: logits, their gradient in BF16, and the two products that read that. */
const steps: readonly (readonly [result: string, op: string, operands: readonly string[], attributes: object])[] = [
  ['logits', 'dot_general', ['x', 'head'], dot(1, 1)],
  ['twice', 'add', ['logits', 'logits'], {}],
  ['grad', 'log_softmax_gather_grad', ['twice', 'targets', 'slopes'], {}],
  ['narrow', 'convert', ['grad'], { to: 'bf16' }],
  ['narrow_x', 'convert', ['x'], { to: 'bf16' }],
  ['narrow_head', 'convert', ['head'], { to: 'bf16' }],
  ['dx', 'dot_general', ['narrow', 'narrow_head'], dot(1, 0)],
  ['dhead', 'dot_general', ['narrow', 'narrow_x'], dot(0, 0)],
];

function dot(lhs: number, rhs: number): object {
  return { lhs_contract: [lhs], rhs_contract: [rhs], lhs_batch: [], rhs_batch: [] };
}

function moduleOf(wanted: typeof steps, outputs: readonly string[]): Module {
  const g = new GraphBuilder('f');
  const values = new Map<string, Value>();
  const inputOf = (name: string) => {
    const { dtype, shape } = computed[name]!.type;
    const value = g.input(name, dtype, shape);
    values.set(name, value);
    return value;
  };
  for (const [result, op, operands, attributes] of wanted) {
    const operandValues = operands.map((name) => values.get(name) ?? inputOf(name));
    values.set(result, g.apply(coreOps.latest('core', op), operandValues, attributes as never)[0]!);
  }
  for (const name of outputs) g.output(name, values.get(name)!);
  const fn = g.finish();
  return { name: 'm', symbols: [], parameters: [], states: [], functions: [fn], metadata: {}, attachments: new Map() };
}

/** By name: what was computed so far, for functions of one node. */
const computed: Record<string, HostTensor> = { ...tensors };

test('a large function, packed, has the bits of its nodes one by one', { timeout: 120_000 }, async () => {
  await using executor = await cpuPlugin.open({ device: 'native', threads: 2 });
  const run = async (module: Module, outputs: readonly string[]) => {
    await using session = await Session.open(module, executor);
    const inputs = module.functions[0]!.inputs.map(({ name }) => [name, computed[name]!]);
    return session.run('f', Object.fromEntries(inputs), { outputs });
  };
  const module = moduleOf(steps, ['dx', 'dhead']);
  const { workspaces } = await sessionFootprint(module, executor, [{ function: 'f', symbols: {} }]);
  const logits = 4 * tokens * vocabulary;
  // Logits and their gradients in one place, then BF16 over them; beside these what a product stages and packs.
  expect(workspaces.get('f')).toBeGreaterThanOrEqual(logits);
  expect(workspaces.get('f')).toBeLessThan(2 * logits);
  const whole = await run(module, ['dx', 'dhead']);
  for (const step of steps) Object.assign(computed, await run(moduleOf([step], [step[0]]), [step[0]]));
  for (const name of ['dx', 'dhead']) expectSame(whole[name]!, computed[name]!, name);

  // Activations of more than 64 MiB are staged in parts: the same product in halves, and of a transposed operand.
  const half = tokens / 2;
  const narrow = computed.narrow!.data as Uint16Array;
  for (const part of [0, 1]) {
    const rows = narrow.slice(part * half * vocabulary, (part + 1) * half * vocabulary);
    computed.rows = { type: { dtype: 'bf16', shape: [half, vocabulary] }, data: rows };
    const step = ['dx', 'dot_general', ['rows', 'narrow_head'], dot(1, 0)] as const;
    const { dx } = await run(moduleOf([step], ['dx']), ['dx']);
    const expected = whole.dx!.data.slice(part * half * width, (part + 1) * half * width);
    expectSame(dx!, { type: dx!.type, data: expected }, `half ${part} of dx`);
  }
  const transposed = Uint16Array.from({ length: narrow.length }, (_, i) => {
    return narrow[(i % tokens) * vocabulary + Math.floor(i / tokens)]!;
  });
  computed.columns = { type: { dtype: 'bf16', shape: [vocabulary, tokens] }, data: transposed };
  const step = ['dhead', 'dot_general', ['columns', 'narrow_x'], dot(1, 0)] as const;
  expectSame((await run(moduleOf([step], ['dhead']), ['dhead'])).dhead!, whole.dhead!, 'dhead of a transposed operand');
});

function expectSame(actual: HostTensor, expected: HostTensor, what: string): void {
  const bits = ({ data }: HostTensor) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  expect(bits(actual).some((byte) => byte !== 0)).toBe(true);
  expect(bits(actual).equals(bits(expected)), what).toBe(true);
}

test('a program that needs a larger arena does not keep the one of a program before it', async () => {
  const { executor, peak } = await openMetered('native');
  await using _ = executor;
  const size = 3_000_000;
  const chain = (name: string, parts: number) => {
    const g = new GraphBuilder(name);
    const x = g.input('x', 'f32', [size]);
    const doubled = Array.from({ length: parts }, () => g.op('add', [x, x]));
    g.output(
      'y',
      g.op('reduce', [doubled.reduce((sum, value) => g.op('add', [sum, value]))], { kind: 'sum', axes: [0] }),
    );
    return g.finish();
  };
  const functions = [chain('small', 2), chain('large', 4)];
  const module = {
    name: 'm',
    symbols: [],
    parameters: [],
    states: [],
    functions,
    metadata: {},
    attachments: new Map(),
  };
  await using session = await Session.open(module, executor);
  const calls = functions.map(({ name }) => ({ function: name, symbols: {} }));
  const { workspaces, callBuffers } = await sessionFootprint(module, executor, calls);
  expect(peak()).toBe(0);
  const x: HostTensor = { type: { dtype: 'f32', shape: [size] }, data: new Float32Array(size) };
  for (const { name } of functions) await session.run(name, { x });
  const [small, large] = calls.map((call) => workspaces.get(call.function)!);
  expect(small).toBeLessThan(large!);
  expect(peak()).toBe(large! + callBuffers.get('small')! + callBuffers.get('large')!);
});
