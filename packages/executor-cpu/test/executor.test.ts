/** @file What the executor contract asks, on the CPU executor; what ops compute is in ops.test.ts. */
import { type Bindings, ExecutorRegistry, nullPlugin, Session } from '@quaver/executor';
import { GraphBuilder, planMemory } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { cpuPlugin } from '../src/index.ts';
import { devices, GraphCase, randomSource, randomTensor } from './same-bits.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });

function doubling() {
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', [2]);
  g.output('y', g.op('add', [x, x]));
  return g.finish();
}

const noBindings: Bindings = { symbols: {}, inputs: {}, parameters: {}, states: {}, outputs: {} };

describe.each(devices)('on the device $device', (options) => {
  test('buffers keep bytes, start as zeros, and end with dispose', async () => {
    await using executor = await cpuPlugin.open(options);
    for (const usage of ['parameter', 'state', 'input', 'output'] as const) {
      const used = executor.allocate(8, usage);
      await executor.upload(used, new Uint8Array(8).fill(255));
      used.dispose();
      const buffer = executor.allocate(8, usage);
      expect([...(await executor.download(buffer))], usage).toEqual(new Array(8).fill(0));
      const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
      await executor.upload(buffer, bytes);
      bytes[0] = 9;
      expect([...(await executor.download(buffer))], usage).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      await expect(executor.upload(buffer, bytes.subarray(1))).rejects.toMatchObject({ code: 'buffer-size' });
      buffer.dispose();
      buffer.dispose();
      await expect(executor.download(buffer)).rejects.toMatchObject({ code: 'buffer-disposed' });
      await expect(executor.upload(buffer, bytes)).rejects.toMatchObject({ code: 'buffer-disposed' });
    }
  });

  test('a parameter that is uploaded again is used from then on', async () => {
    await using executor = await cpuPlugin.open(options);
    const g = new GraphBuilder('main');
    const w = g.parameter({ name: 'w', type: { dtype: 'f32', shape: [1, 1] } });
    const x = g.input('x', 'f32', [1, 1]);
    g.output('y', g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));
    const program = await executor.compile(planMemory(g.finish()));
    const bytes = (value: number) => new Uint8Array(Float32Array.of(value).buffer);
    const [x0, w0, y0] = (['input', 'parameter', 'output'] as const).map((usage) => executor.allocate(4, usage));
    await executor.upload(x0!, bytes(3));
    for (const weight of [2, 5]) {
      await executor.upload(w0!, bytes(weight));
      const bindings = { ...noBindings, inputs: { x: x0! }, parameters: { w: w0! }, outputs: { y: y0! } };
      await executor.wait(executor.submit(program, bindings));
      expect([...(await executor.download(y0!))]).toEqual([...bytes(3 * weight)]);
    }
  });

  test('wrong programs and bindings are refused', async () => {
    await using executor = await cpuPlugin.open(options);
    await using stranger = await cpuPlugin.open(options);
    await using unlike = await nullPlugin.open();
    const fn = planMemory(doubling());
    const program = await executor.compile(fn);
    for (const other of [stranger, unlike]) {
      const foreign = await other.compile(fn);
      expect(() => executor.submit(foreign, noBindings)).toThrow(code('program-foreign'));
    }
    const run = (inputs: Bindings['inputs'], outputs: Bindings['outputs']) =>
      executor.wait(executor.submit(program, { ...noBindings, inputs, outputs }));
    const x = executor.allocate(8, 'input');
    const y = executor.allocate(8, 'output');
    await run({ x }, { y });
    await expect(run({}, { y })).rejects.toMatchObject({ code: 'binding-missing' });
    await expect(run({ x }, {})).rejects.toMatchObject({ code: 'binding-missing' });
    await expect(run({ x: executor.allocate(4, 'input') }, { y })).rejects.toMatchObject({ code: 'buffer-size' });
    await expect(run({ x }, { y: executor.allocate(12, 'output') })).rejects.toMatchObject({ code: 'buffer-size' });
    await expect(run({ x: stranger.allocate(8, 'input') }, { y })).rejects.toMatchObject({ code: 'buffer-foreign' });
    await expect(run({ x: unlike.allocate(8, 'input') }, { y })).rejects.toMatchObject({ code: 'buffer-foreign' });
    x.dispose();
    await expect(run({ x }, { y })).rejects.toMatchObject({ code: 'buffer-disposed' });
    program.dispose();
    await expect(run({ x }, { y })).rejects.toMatchObject({ code: 'program-disposed' });
    await expect(executor.compile(doubling())).rejects.toMatchObject({ code: 'program-not-planned' });
  });

  test('after its end it takes nothing', async () => {
    const executor = await cpuPlugin.open(options);
    const program = await executor.compile(planMemory(doubling()));
    await executor[Symbol.asyncDispose]();
    await executor[Symbol.asyncDispose]();
    expect(() => executor.allocate(4, 'input')).toThrow(code('executor-disposed'));
    expect(() => executor.submit(program, noBindings)).toThrow(code('executor-disposed'));
    await expect(executor.compile(planMemory(doubling()))).rejects.toMatchObject({ code: 'executor-disposed' });
  });

  test('what a kernel throws names the node and its place', async () => {
    const graph = new GraphCase();
    const table = graph.parameter('table', randomTensor(randomSource(1), 'f32', [4, 2]));
    const ids = graph.input('ids', { type: { dtype: 'i32', shape: [2] }, data: Int32Array.of(1, 4) });
    const { g } = graph;
    g.output(
      'y',
      g.scope('model.embed', () => g.op('gather', [table, ids], { axis: 0 }, { name: 'found' })),
    );
    await using executor = await cpuPlugin.open(options);
    await using session = await Session.open(graph.module(), executor);
    await expect(session.run('main', graph.inputs)).rejects.toMatchObject({
      code: 'gather-index',
      message: expect.stringMatching(/4.*%found = gather at model\.embed/),
      where: { op: 'gather', location: 'model.embed' },
    });
  });

  test('a function without nodes passes its inputs on', async () => {
    const graph = new GraphCase();
    const x = graph.input('x', { type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(7, 8) });
    graph.g.output('y', x);
    graph.g.output('z', x);
    await using executor = await cpuPlugin.open(options);
    await using session = await Session.open(graph.module(), executor);
    const { y, z } = await session.run('main', graph.inputs);
    expect([[...y!.data], [...z!.data]]).toEqual([
      [7, 8],
      [7, 8],
    ]);
  });

  test('profiling adds up the time of every node', async () => {
    const graph = new GraphCase();
    const x = graph.input('x', randomTensor(randomSource(2), 'f32', [64, 256]));
    const w = graph.parameter('w', randomTensor(randomSource(3), 'f32', [256, 256]));
    const { g } = graph;
    const y = g.scope('layer', () => g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));
    g.output('y', g.op('add', [y, y]));
    await using executor = await cpuPlugin.open({ ...options, profile: true });
    await using session = await Session.open(graph.module(), executor);
    await session.run('main', graph.inputs);
    const once = executor.profile!();
    expect(once.map(({ op, location }) => `${op} ${location}`).sort()).toEqual(['add ', 'dot_general layer']);
    await session.run('main', graph.inputs);
    const twice = executor.profile!();
    expect(twice).toHaveLength(2);
    for (const { op, milliseconds } of once) {
      expect(twice.find((event) => event.op === op)!.milliseconds).toBeGreaterThan(milliseconds);
    }
    await using silent = await cpuPlugin.open(options);
    expect(silent.profile!()).toEqual([]);
  });
});

test('devices by their names, and a signal that is looked at', async () => {
  const registry = new ExecutorRegistry([cpuPlugin]);
  const listed = await cpuPlugin.listDevices();
  expect(listed.map(({ id }) => id)).toEqual(['native', 'wasm']);
  for (const device of listed) {
    await using executor = await registry.open('cpu', { device: device.id });
    expect(executor.device).toMatchObject({ id: device.id, name: device.name, details: device.details });
  }
  await using first = await registry.open('cpu');
  expect(first.device.id).toBe('native');
  await expect(registry.open('cpu', { device: 'gpu' })).rejects.toMatchObject({ code: 'executor-device-unknown' });
  await expect(registry.open('cpu', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  const signal = AbortSignal.abort();
  await expect(first.compile(planMemory(doubling()), signal)).rejects.toMatchObject({ code: 'aborted' });
});
