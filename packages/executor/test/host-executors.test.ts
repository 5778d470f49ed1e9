/** @file What the contract asks of every executor, on the two that work in host memory. */
import {
  type Bindings,
  type DeviceBuffer,
  type Executor,
  type ExecutorPlugin,
  nullPlugin,
  referencePlugin,
  Session,
} from '@quaver/executor';
import { coreOps, defineOp, findFunction, GraphBuilder, OpRegistry } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { accumulator, f32, i32, moduleOf } from './support/modules.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });

describe.each<[string, ExecutorPlugin]>([
  ['reference', referencePlugin()],
  ['null', nullPlugin],
])('%s', (_, plugin) => {
  test('buffers keep bytes, start as zeros, and end with dispose', async () => {
    await using executor = await plugin.open();
    const buffer = executor.allocate(4, 'input');
    expect([...(await executor.download(buffer))]).toEqual([0, 0, 0, 0]);
    const bytes = Uint8Array.of(1, 2, 3, 4);
    await executor.upload(buffer, bytes);
    bytes[0] = 9;
    const found = await executor.download(buffer);
    expect([...found]).toEqual([1, 2, 3, 4]);
    found[1] = 9;
    expect([...(await executor.download(buffer))]).toEqual([1, 2, 3, 4]);
    await expect(executor.upload(buffer, bytes.subarray(1))).rejects.toMatchObject({ code: 'buffer-size' });
    buffer.dispose();
    buffer.dispose();
    expect(buffer.byteLength).toBe(4);
    await expect(executor.download(buffer)).rejects.toMatchObject({ code: 'buffer-disposed' });
    await expect(executor.upload(buffer, bytes)).rejects.toMatchObject({ code: 'buffer-disposed' });
  });

  test('buffers belong to one executor', async () => {
    await using a = await plugin.open();
    await using b = await plugin.open();
    const buffer = a.allocate(1, 'input');
    await expect(b.download(buffer)).rejects.toMatchObject({ code: 'buffer-foreign' });
    await expect(b.upload(buffer, Uint8Array.of(1))).rejects.toMatchObject({ code: 'buffer-foreign' });
  });

  test.each([2 ** 32 + 1, 2 ** 50, 1e30, -1, Number.NaN])('%d bytes are more than there is', async (byteLength) => {
    await using executor = await plugin.open();
    expect(() => executor.allocate(byteLength, 'state')).toThrow(code('executor-out-of-memory'));
  });

  test('after its end it takes nothing', async () => {
    const executor = await plugin.open();
    await executor[Symbol.asyncDispose]();
    await executor[Symbol.asyncDispose]();
    expect(() => executor.allocate(4, 'input')).toThrow(code('executor-disposed'));
    await expect(executor.compile(scale)).rejects.toMatchObject({ code: 'executor-disposed' });
    const other = await plugin.open();
    const program = await other.compile(scale);
    await other[Symbol.asyncDispose]();
    expect(() => other.submit(program, noBindings)).toThrow(code('executor-disposed'));
  });

  test('compile and open look at the signal', async () => {
    await using executor = await plugin.open();
    await expect(executor.compile(scale, AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
    await expect(plugin.open({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  });
});

const noBindings: Bindings = { symbols: {}, inputs: {}, parameters: {}, states: {}, outputs: {} };

const scale = findFunction(accumulator(), 'scale')!;

describe('null', () => {
  test('gives zeros of the right types', async () => {
    await using executor = await nullPlugin.open();
    await using session = await Session.open(accumulator(), executor);
    using state = session.createState({ B: 2 });
    const { total, scaled } = await session.run('step', { x: f32([2, 3], [1, 2, 3, 4, 5, 6]) }, { state });
    expect(total).toEqual(f32([2, 3], [0, 0, 0, 0, 0, 0]));
    expect(scaled).toEqual(f32([2, 3], [0, 0, 0, 0, 0, 0]));
  });

  test('takes composites whole', async () => {
    const g = new GraphBuilder('main');
    g.output('y', g.op('softmax', [g.input('x', 'f32', [3])], { axis: 0 }));
    await using executor = await nullPlugin.open();
    await using session = await Session.open(moduleOf([g.finish()]), executor);
    expect(session.assignments('main').map(({ op }) => op)).toEqual(['softmax']);
  });
});

const squared = defineOp('squared', {
  domain: 'mine',
  version: 3,
  summary: 'x².',
  operands: { x: { dtypes: ['f32'], summary: 'any shape' } },
  attributes: {},
  results: ['y'],
  infer: ({ x }) => [x],
  evaluate: ({ x }) => [{ type: x.type, data: Float32Array.from(x.data, (value) => value * value) }],
});

describe('reference', () => {
  test('runs composites by their bodies: softmax of 0, ln 2, ln 3', async () => {
    const g = new GraphBuilder('main');
    g.output('y', g.op('softmax', [g.input('x', 'f32', [3])], { axis: 0 }));
    await using executor = await referencePlugin().open();
    await using session = await Session.open(moduleOf([g.finish()]), executor);
    const { y } = await session.run('main', { x: f32([3], [0, Math.log(2), Math.log(3)]) });
    for (const [i, expected] of [1 / 6, 2 / 6, 3 / 6].entries()) expect(y!.data[i]).toBeCloseTo(expected, 6);
    expect(session.assignments('main').map(({ op }) => op)).not.toContain('softmax');
  });

  test('what an op throws names the node and its place', async () => {
    const g = new GraphBuilder('main');
    const rows = g.input('rows', 'f32', [4, 1]);
    const ids = g.input('ids', 'i32', [2]);
    g.output(
      'y',
      g.scope('model.embed', () => g.op('gather', [rows, ids], { axis: 0 }, { name: 'found' })),
    );
    await using executor = await referencePlugin().open();
    await using session = await Session.open(moduleOf([g.finish()]), executor);
    const table = f32([4, 1], [5, 6, 7, 8]);
    await expect(session.run('main', { rows: table, ids: i32([2], [1, 4]) })).rejects.toMatchObject({
      code: 'gather-index',
      message: expect.stringMatching(/4.*%found = gather at model\.embed/),
      where: { node: 'found', op: 'gather', location: 'model.embed' },
    });
    expect([...(await session.run('main', { rows: table, ids: i32([2], [1, 3]) })).y!.data]).toEqual([6, 8]);
  });

  test('runs the ops of the registry it is given, and refuses others with a reason', async () => {
    const registry = new OpRegistry([...coreOps.list(), squared]);
    const g = new GraphBuilder('main');
    g.output('y', g.apply(squared, [g.op('negate', [g.input('x', 'f32', [2])])])[0]!);
    const module = moduleOf([g.finish()], {}, registry);
    await using executor = await referencePlugin(registry).open();
    await using session = await Session.open(module, executor, { registry });
    expect([...(await session.run('main', { x: f32([2], [3, -4]) })).y!.data]).toEqual([9, 16]);

    await using plain = await referencePlugin().open();
    const view = { domain: 'mine', op: 'squared', version: 3, operands: [], results: [], attributes: {} };
    const reason = 'no op mine.squared@3 is registered';
    expect(plain.supports(view)).toEqual({ ok: false, code: 'op-unknown', reason });
    await expect(Session.open(module, plain, { registry })).rejects.toMatchObject({
      code: 'node-unsupported',
      message: expect.stringContaining(reason),
    });
  });

  test('programs and bindings of somebody else', async () => {
    await using executor = await referencePlugin().open();
    await using stranger = await nullPlugin.open();
    expect(() => executor.submit({ name: 'x', dispose: () => undefined }, noBindings)).toThrow(code('program-foreign'));
    const program = await executor.compile(scale);
    const run = (bindings: Partial<Bindings>) =>
      executor.wait(executor.submit(program, { ...noBindings, ...bindings }));
    const buffer = (bytes: number, owner: Executor = executor) => owner.allocate(bytes, 'input');
    const good = {
      symbols: { B: 1 },
      inputs: { x: buffer(12) },
      parameters: { others: buffer(12) },
      outputs: { y: buffer(12) },
    };
    await run(good);
    const one = (name: string, value: DeviceBuffer | undefined) => (value ? { [name]: value } : {});
    await expect(run({ ...good, inputs: one('x', undefined) })).rejects.toMatchObject({ code: 'binding-missing' });
    await expect(run({ ...good, outputs: one('y', undefined) })).rejects.toMatchObject({ code: 'binding-missing' });
    await expect(run({ ...good, inputs: one('x', buffer(24)) })).rejects.toMatchObject({ code: 'buffer-size' });
    await expect(run({ ...good, outputs: one('y', buffer(8)) })).rejects.toMatchObject({ code: 'buffer-size' });
    await expect(run({ ...good, inputs: one('x', buffer(12, stranger)) })).rejects.toMatchObject({
      code: 'buffer-foreign',
    });
  });
});
