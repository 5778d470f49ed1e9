/** @file The forms of parameters: which of them exist when, and that their bytes come back. */
import { type Bindings, type Executor, Session } from '@quaver/executor';
import { type DType, dtypeBytes, GraphBuilder, type GraphFunction, type HostTensor, planMemory } from '@quaver/ir';
import { bf16 } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { cpuPlugin } from '../src/index.ts';
import { openMetered } from './memory-meter.ts';
import { devices, expectSameBits, GraphCase, randomSource, randomTensor } from './same-bits.ts';

const bytesOf = ({ data }: HostTensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const noBindings: Bindings = { symbols: {}, inputs: {}, parameters: {}, states: {}, outputs: {} };

/** y[m, n] = x · w, w [n, k] or, transposed, [k, n]. */
function product(dtype: DType, [n, k]: readonly [number, number], transposed: boolean): GraphFunction {
  const g = new GraphBuilder('main');
  const x = g.input('x', dtype, [2, k]);
  const w = g.parameter({ name: 'w', type: { dtype, shape: transposed ? [k, n] : [n, k] } });
  const scaled = dtype.startsWith('f8');
  g.output(
    'y',
    g.op(scaled ? 'scaled_dot' : 'dot_general', [x, w], { lhs_contract: [1], rhs_contract: [transposed ? 0 : 1] }),
  );
  return planMemory(g.finish());
}

/** A program over one parameter that was prepared before its bytes came, as sessions do it. */
async function openProduct(executor: Executor, fn: GraphFunction) {
  const program = await executor.compile(fn);
  const size = (value: { type: { dtype: DType; shape: readonly unknown[] } }) =>
    (value.type.shape as number[]).reduce((all, dim) => all * dim, dtypeBytes[value.type.dtype]);
  const [x, y] = [
    executor.allocate(size(fn.inputs[0]!), 'input'),
    executor.allocate(size(fn.outputs[0]!.value), 'output'),
  ];
  const w = executor.allocate(size(fn.parameters[0]!), 'parameter');
  await executor.prepare!(program, { w });
  return {
    w,
    run: async (bytes: Uint8Array) => {
      await executor.upload(x, bytes);
      await executor.wait(
        executor.submit(program, { ...noBindings, inputs: { x }, parameters: { w }, outputs: { y } }),
      );
      return Buffer.from(await executor.download(y));
    },
  };
}

describe.each(devices)('on the device $device', (options) => {
  const formats = ['f32', 'bf16', 'f8e4m3fn', 'f8e5m2'] as const;

  describe.each([false, true])('weights that are transposed: %s', (transposed) => {
    test.each(formats)('of %s come back as they were, before and after runs', async (dtype) => {
      await using executor = await cpuPlugin.open(options);
      const random = randomSource(4);
      for (const [n, k] of [
        [1, 1],
        [33, 70],
        [130, 129],
      ] as const) {
        const opened = await openProduct(executor, product(dtype, [n, k], transposed));
        const weights = randomTensor(random, dtype, [n, k]);
        const x = bytesOf(randomTensor(random, dtype, [2, k]));
        await executor.upload(opened.w, bytesOf(weights));
        expect(Buffer.compare(await executor.download(opened.w), bytesOf(weights)), `${n}×${k} at first`).toBe(0);
        const first = await opened.run(x);
        expect(Buffer.compare(await executor.download(opened.w), bytesOf(weights)), `${n}×${k} after a run`).toBe(0);
        expect((await opened.run(x)).equals(first), 'after a download').toBe(true);
        await executor.upload(opened.w, bytesOf(randomTensor(random, dtype, [n, k])));
        expect((await opened.run(x)).equals(first), 'other weights').toBe(n * k === 0);
        await executor.upload(opened.w, bytesOf(weights));
        expect((await opened.run(x)).equals(first), 'the first weights again').toBe(true);
        opened.w.dispose();
      }
    });

    test('of BF16 with values that packing would lose', async () => {
      await using executor = await cpuPlugin.open(options);
      const opened = await openProduct(executor, product('bf16', [40, 50], transposed));
      const x = bytesOf(randomTensor(randomSource(5), 'bf16', [2, 50]));
      const zeros = new Uint8Array(4000);
      await executor.upload(opened.w, zeros);
      const expected = await opened.run(x);
      for (const value of [-0, 2 ** -57, -(2 ** -130), 2 ** -133]) {
        const codes = new Uint16Array(2000);
        codes[777] = bf16.encode(value);
        codes[1999] = bf16.encode(-value);
        await executor.upload(opened.w, new Uint8Array(codes.buffer));
        expect((await opened.run(x)).equals(expected), `${value} counts as zero`).toBe(true);
        const found = new Uint16Array((await executor.download(opened.w)).slice().buffer);
        expect(Buffer.compare(new Uint8Array(found.buffer), new Uint8Array(codes.buffer)), `${value}`).toBe(0);
      }
    });
  });

  test('a parameter that was never written is zeros', async () => {
    await using executor = await cpuPlugin.open(options);
    const opened = await openProduct(executor, product('f32', [9, 20], false));
    const result = await opened.run(bytesOf(randomTensor(randomSource(6), 'f32', [2, 20])));
    expect(result.every((byte) => byte === 0)).toBe(true);
    expect((await executor.download(opened.w)).every((byte) => byte === 0)).toBe(true);
  });

  const megabyte = 2 ** 20;
  /** Memory that a session of a graph takes beside its parameters while it is opened and runs. */
  async function peakOf(build: (graph: GraphCase) => void): Promise<number> {
    const graph = new GraphCase();
    build(graph);
    const module = graph.module();
    const metered = await openMetered(options.device!);
    const session = await Session.open(module, metered.executor);
    await session.run('main', graph.inputs);
    await session[Symbol.asyncDispose]();
    await metered.executor[Symbol.asyncDispose]();
    return metered.peak();
  }

  test('weights are there once: packed, the raw bytes of one at a time', async () => {
    const random = randomSource(7);
    const layers = 8;
    const peak = await peakOf((graph) => {
      let x = graph.input('x', randomTensor(random, 'f32', [1, 512]));
      for (let i = 0; i < layers; i++) {
        const w = graph.parameter(`w${i}`, randomTensor(random, 'f32', [512, 512]));
        x = graph.g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] });
      }
      graph.g.output('y', x);
    });
    // A megabyte each, and one more while it is packed.
    expect(peak).toBeGreaterThan(layers * megabyte);
    expect(peak).toBeLessThan((layers + 1.5) * megabyte);
  });

  test.each(['f32', 'bf16'] as const)('a tied embedding of %s is there once, too', async (dtype) => {
    const random = randomSource(8);
    const table = randomTensor(random, dtype, [4096, 512]);
    // Tiny magnitudes and −0 would have to be kept beside the packed form.
    if (dtype === 'bf16') for (let i = 0; i < table.data.length; i++) table.data[i] = bf16.encode(1 + (i % 97));
    const size = bytesOf(table).length;
    const build = (graph: GraphCase) => {
      const w = graph.parameter('table', table);
      const ids = graph.input('ids', { type: { dtype: 'i32', shape: [3] }, data: Int32Array.of(0, 4095, 77) });
      const x = graph.g.op('gather', [w, ids], { axis: 0 });
      graph.g.output('x', x);
      graph.g.output('y', graph.g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));
    };
    const graph = new GraphCase();
    build(graph);
    await expectSameBits(graph, ['gather', 'dot_general']);
    // Twice while it is packed, and not a third time for the rows of the embedding.
    expect(await peakOf(build)).toBeLessThan(2.3 * size);
    // With a second parameter as large after it, that would show if it stayed twice.
    const twice = (both: GraphCase) => {
      build(both);
      const x = both.input('second', randomTensor(random, dtype, [1, 512]));
      const w = both.parameter('weights', table);
      both.g.output('z', both.g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));
    };
    expect(await peakOf(twice)).toBeLessThan(3.3 * size);
  });

  test('a table with values that packing would lose stays as it is for the rows, and is packed for the product', async () => {
    const random = randomSource(9);
    const table = randomTensor(random, 'bf16', [300, 64]);
    table.data[5] = bf16.encode(-0);
    table.data[64 * 299] = bf16.encode(2 ** -100);
    const graph = new GraphCase();
    const w = graph.parameter('table', table);
    const ids = graph.input('ids', { type: { dtype: 'i32', shape: [3] }, data: Int32Array.of(0, 299, 77) });
    const x = graph.g.op('gather', [w, ids], { axis: 0 });
    graph.g.output('x', x);
    graph.g.output('y', graph.g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));
    await expectSameBits(graph, ['gather', 'dot_general']);
  });

  test('buffers may outlive their executor', async () => {
    const executor = await cpuPlugin.open(options);
    const buffers = (['parameter', 'state', 'input', 'output'] as const).map((usage) => executor.allocate(64, usage));
    for (const buffer of buffers) await executor.upload(buffer, new Uint8Array(64));
    await executor[Symbol.asyncDispose]();
    await executor[Symbol.asyncDispose]();
    for (const buffer of buffers) buffer.dispose();
  });
});
