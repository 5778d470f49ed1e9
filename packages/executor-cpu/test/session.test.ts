import { type DeviceBuffer, type Executor, Session } from '@quaver/executor';
import { GraphBuilder, type HostTensor, type Module, memoryData, type StateVariable, verifyModule } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { cpuPlugin } from '../src/index.ts';
import { openMetered } from './memory-meter.ts';
import { devices, randomSource, randomTensor } from './same-bits.ts';

const megabyte = 2 ** 20;
const code = (expected: string) => expect.objectContaining({ code: expected });

function moduleOf(parts: Partial<Module>): Module {
  const module: Module = {
    name: 'small',
    symbols: [],
    parameters: [],
    states: [],
    functions: [],
    metadata: {},
    attachments: new Map(),
    ...parts,
  };
  verifyModule(module);
  return module;
}

const f32 = (shape: readonly number[], values: ArrayLike<number>): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: Float32Array.from(values),
});

const i32 = (shape: readonly number[], values: readonly number[]): HostTensor => ({
  type: { dtype: 'i32', shape },
  data: Int32Array.from(values),
});

const cacheState: StateVariable = { name: 'cache', type: { dtype: 'f32', shape: ['B', 'C', 2] } };

/** `append(x[B,T,2], position[B])` writes x into the cache and gives twice the whole cache, by way of a value as large. */
function cacheModule(): Module {
  const g = new GraphBuilder('append');
  const x = g.input('x', 'f32', ['B', 'T', 2]);
  const position = g.input('position', 'i32', ['B']);
  const updated = g.op('dynamic_update_slice', [g.state(cacheState), x, position], { axis: 1 });
  g.update(cacheState, updated);
  g.output('sum', g.op('add', [g.op('negate', [g.op('negate', [updated])]), updated]));
  const symbols = ['B', 'T', 'C'].map((name) => ({ name, min: 1, max: 2 ** 40, multiple: 1 }));
  return moduleOf({ symbols, states: [cacheState], functions: [g.finish()] });
}

/** `main(x[M,k])` = x · wᵀ through `layers` weights [k, k], in turn. */
function matrixModule(layers: number, k: number): Module {
  const random = randomSource(11);
  const { type, data } = randomTensor(random, 'f32', [k, k]);
  const bytes = memoryData(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const parameters = Array.from({ length: layers }, (_, i) => ({ name: `w${i}`, type, data: bytes, trainable: true }));
  const g = new GraphBuilder('main');
  let x = g.input('x', 'f32', ['M', k]);
  for (const parameter of parameters) {
    x = g.op('dot_general', [x, g.parameter(parameter)], { lhs_contract: [1], rhs_contract: [1] });
  }
  g.output('y', x);
  return moduleOf({
    symbols: [{ name: 'M', min: 1, max: 4096, multiple: 1 }],
    parameters,
    functions: [g.finish()],
  });
}

describe.each(devices)('on the device $device', (options) => {
  describe('state', () => {
    test('is updated in place, at each row’s own position', async () => {
      await using executor = await cpuPlugin.open(options);
      await using session = await Session.open(cacheModule(), executor);
      using state = session.createState({ B: 2, C: 3 });
      const append = async (values: readonly number[], position: readonly number[]) => {
        const inputs = { x: f32([2, values.length / 4, 2], values), position: i32([2], position) };
        return [...(await session.run('append', inputs, { state })).sum!.data];
      };
      await append([1, 2, 3, 4], [0, 1]);
      expect(await append([5, 6, 7, 8, 1, 1, 1, 1], [1, 2])).toEqual([2, 4, 10, 12, 14, 16, 0, 0, 6, 8, 2, 2]);
    });

    test('several states take turns: more of them than bindings are kept', async () => {
      await using executor = await cpuPlugin.open(options);
      await using session = await Session.open(cacheModule(), executor);
      const states = Array.from({ length: 7 }, (_, i) => session.createState({ B: 1, C: 1 + (i % 3) }));
      for (let round = 0; round < 3; round++) {
        for (const [i, state] of states.entries()) {
          const position = round % (1 + (i % 3));
          const inputs = { x: f32([1, 1, 2], [100 * i + round, 1]), position: i32([1], [position]) };
          const { sum } = await session.run('append', inputs, { state });
          expect(sum!.data[2 * position]).toBe(2 * (100 * i + round));
        }
      }
    });

    test('that swap, are set without being read, or passed on, are as on the reference', async () => {
      const [a, b] = ['a', 'b'].map((name): StateVariable => ({ name, type: { dtype: 'f32', shape: [2] } }));
      const put = new GraphBuilder('put');
      put.update(a!, put.input('x', 'f32', [2]));
      put.update(b!, put.input('y', 'f32', [2]));
      const swap = new GraphBuilder('swap');
      swap.update(a!, swap.state(b!));
      swap.update(b!, swap.state(a!));
      swap.output('old_a', swap.state(a!));
      const module = moduleOf({ states: [a!, b!], functions: [put.finish(), swap.finish()] });
      await using executor = await cpuPlugin.open(options);
      await using session = await Session.open(module, executor);
      const states = [session.createState({}), session.createState({})];
      for (const [i, state] of states.entries()) {
        await session.run('put', { x: f32([2], [i, 1]), y: f32([2], [3, 4]) }, { state });
      }
      for (const [i, state] of states.entries()) {
        expect([...(await session.run('swap', {}, { state })).old_a!.data]).toEqual([i, 1]);
        expect([...(await session.run('swap', {}, { state })).old_a!.data]).toEqual([3, 4]);
        expect([...(await session.run('swap', {}, { state })).old_a!.data]).toEqual([i, 1]);
      }
    });
  });

  test('sizes that change from call to call give the bits of a fresh session', async () => {
    const module = matrixModule(2, 40);
    await using executor = await cpuPlugin.open(options);
    await using session = await Session.open(module, executor);
    const random = randomSource(5);
    for (const m of [1, 9, 2, 130, 1, 9, 64, 3, 130]) {
      const inputs = { x: randomTensor(random, 'f32', [m, 40]) };
      await using fresh = await Session.open(module, executor);
      expect((await session.run('main', inputs)).y).toEqual((await fresh.run('main', inputs)).y);
    }
  });

  test('the same memory in another shape is another binding', async () => {
    const g = new GraphBuilder('main');
    g.output('y', g.op('softmax', [g.input('x', 'f32', ['M', 'N'])], { axis: 1 }));
    const symbols = ['M', 'N'].map((name) => ({ name, min: 1, max: 64, multiple: 1 }));
    await using executor = await cpuPlugin.open(options);
    await using session = await Session.open(moduleOf({ symbols, functions: [g.finish()] }), executor);
    for (const [rows, columns] of [
      [2, 6],
      [3, 4],
      [2, 6],
    ] as const) {
      const { y } = await session.run('main', { x: f32([rows, columns], new Array(12).fill(1)) });
      expect(y).toEqual(f32([rows, columns], new Array(12).fill(1 / columns)));
    }
  });

  describe('memory', () => {
    const run = async (executor: Executor, module: Module, m: number) => {
      await using session = await Session.open(module, executor);
      const k = module.parameters[0]!.type.shape[1]!;
      await session.run('main', { x: f32([m, k], new Float32Array(m * k).fill(1)) });
    };

    test('sessions that open and close on one executor use the same memory again', async () => {
      const { executor, peak } = await openMetered(options.device!);
      const module = matrixModule(3, 512);
      await run(executor, module, 64);
      // The memory of intermediates stays: the second session packs its weights beside it.
      await run(executor, module, 64);
      const after = peak();
      expect(after, 'the weights are in there').toBeGreaterThan(3 * megabyte);
      for (let i = 0; i < 20; i++) await run(executor, module, 1 + ((i * 13) % 64));
      expect(peak()).toBe(after);
      await executor[Symbol.asyncDispose]();
    });

    test('calls and states of many sizes do not add up', async () => {
      const { executor, peak } = await openMetered(options.device!);
      await using session = await Session.open(cacheModule(), executor);
      const append = async (capacity: number) => {
        using state = session.createState({ B: 1, C: capacity });
        const rows = Math.ceil(capacity / 2);
        const inputs = { x: f32([1, rows, 2], new Float32Array(2 * rows)), position: i32([1], [0]) };
        await session.run('append', inputs, { state, outputs: [] });
      };
      for (let i = 0; i < 300; i++) await append(1 + ((i * 7919) % 65536));
      // One call needs 2 MiB at most; five bindings are the most that are held.
      expect(peak()).toBeLessThan(12 * megabyte);
    });

    test('bindings to states that live do not add up either', async () => {
      const { executor, peak } = await openMetered(options.device!);
      await using session = await Session.open(cacheModule(), executor);
      const states = Array.from({ length: 40 }, () => session.createState({ B: 1, C: 65536 }));
      const before = peak();
      for (const state of states) {
        const inputs = { x: f32([1, 1, 2], [1, 2]), position: i32([1], [0]) };
        await session.run('append', inputs, { state, outputs: [] });
      }
      // The output and what lies between: 512 KiB each, for five bindings.
      expect(peak() - before).toBeLessThan(8 * megabyte);
    });

    test('executors that open and close give their memory to the garbage collector', async () => {
      // Each takes 4 GiB of address space: hundreds at once would be refused.
      for (let i = 0; i < 150; i++) {
        await using executor = await cpuPlugin.open(options);
        await run(executor, matrixModule(1, 64), 4);
      }
    });

    test('more than 4 GiB is an error, nothing is lost, and work goes on', async () => {
      const { executor, peak } = await openMetered(options.device!);
      await using session = await Session.open(cacheModule(), executor);
      using state = session.createState({ B: 1, C: 4 });
      const inputs = { x: f32([1, 1, 2], [1, 2]), position: i32([1], [3]) };
      await session.run('append', inputs, { state });
      const before = peak();
      for (const C of [2 ** 29, 2 ** 30, 2 ** 38]) {
        expect(() => session.createState({ B: 1, C })).toThrow(code('executor-out-of-memory'));
      }
      for (const bytes of [2 ** 32, 2 ** 53, Number.NaN]) {
        for (const usage of ['state', 'parameter'] as const) {
          if (usage === 'state' || bytes !== 2 ** 32) {
            expect(() => executor.allocate(bytes, usage)).toThrow(code('executor-out-of-memory'));
          }
        }
      }
      expect(peak()).toBe(before);
      expect([...(await session.run('append', inputs, { state })).sum!.data]).toEqual([0, 0, 0, 0, 0, 0, 2, 4]);
    });

    test('whatever does not fit is given back, at whatever point memory ends', async () => {
      const { executor } = await openMetered(options.device!, 8 * megabyte);
      const module = matrixModule(3, 256);
      const inputs = { x: f32([64, 256], new Float32Array(64 * 256).fill(1)) };
      const call = async () => {
        await using session = await Session.open(module, executor);
        return (await session.run('main', inputs)).y;
      };
      const expected = await call();
      const page = 4096;
      /** Fills the memory but for some pages. */
      const fill = (spare: number) => {
        const held: DeviceBuffer[] = [];
        try {
          for (;;) held.push(executor.allocate(page, 'state'));
        } catch {
          for (const buffer of held.splice(0, spare)) buffer.dispose();
        }
        return held;
      };
      const pages = fill(0);
      for (const buffer of pages) buffer.dispose();
      let failed = 0;
      for (let spare = 0; spare <= 480; spare += 12) {
        const held = fill(spare);
        try {
          expect(await call()).toEqual(expected);
        } catch (error) {
          expect(error).toMatchObject({ code: 'executor-out-of-memory' });
          failed++;
        }
        for (const buffer of held) buffer.dispose();
        const left = fill(0);
        expect(left.length, `after a call with ${spare} spare pages`).toBe(pages.length);
        for (const buffer of left) buffer.dispose();
      }
      expect(failed).toBeGreaterThan(10);
      expect(failed).toBeLessThan(40);
      expect(await call()).toEqual(expected);
      await executor[Symbol.asyncDispose]();
    });
  });

  describe('abort', () => {
    test('stops a long run within a moment; the session can be used on', async () => {
      await using executor = await cpuPlugin.open(options);
      // About 70 GFLOP: some seconds.
      const module = matrixModule(32, 512);
      await using session = await Session.open(module, executor);
      const x = randomTensor(randomSource(3), 'f32', [4096, 512]);
      const one = { x: f32([1, 512], x.data.slice(0, 512)) };
      const expected = (await session.run('main', one)).y;
      let aborted = 0;
      const controller = new AbortController();
      setTimeout(() => {
        aborted = performance.now();
        controller.abort();
      }, 60);
      await expect(session.run('main', { x }, { signal: controller.signal })).rejects.toMatchObject({
        code: 'aborted',
      });
      expect(performance.now() - aborted).toBeLessThan(250);
      expect((await session.run('main', one)).y).toEqual(expected);
    });

    test('of a run with state: what is written again is right', async () => {
      await using executor = await cpuPlugin.open(options);
      await using session = await Session.open(cacheModule(), executor);
      using state = session.createState({ B: 1, C: 2 });
      const inputs = { x: f32([1, 2, 2], [1, 2, 3, 4]), position: i32([1], [0]) };
      const stopped = session.run('append', inputs, { state, signal: AbortSignal.abort() });
      await expect(stopped).rejects.toMatchObject({ code: 'aborted' });
      expect([...(await session.run('append', inputs, { state })).sum!.data]).toEqual([2, 4, 6, 8]);
    });
  });
});
