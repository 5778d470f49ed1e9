/** @file The WebAssembly engine with threads: the same bits as alone, no hang, and an end whenever it is asked for. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import workerThreads from 'node:worker_threads';
import { type Executor, Session } from '@quaver/executor';
import type { HostTensor } from '@quaver/ir';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { runOnce } from '../src/code/run-once.ts';
import { WasmEngine } from '../src/engine/wasm-engine.ts';
import { cpuPlugin } from '../src/index.ts';
import { GraphCase, randomSource, randomTensor } from './same-bits.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const contract = { lhs_contract: [2], rhs_contract: [1] };

/** Products in every format, phases that are worth sharing among them. */
function products(): GraphCase {
  const random = randomSource(21);
  const graph = new GraphCase();
  const { g } = graph;
  const x = graph.input('x', randomTensor(random, 'f32', [2, 19, 320]));
  const w = graph.parameter('w', randomTensor(random, 'f32', [200, 320]));
  g.output('f32', g.op('dot_general', [x, w], contract));
  const half = graph.parameter('half', randomTensor(random, 'bf16', [130, 320]));
  g.output('bf16', g.op('dot_general', [g.op('convert', [x], { to: 'bf16' }), half], contract));
  const blocks = { lhs: [1, 1, 128], rhs: [128, 128] };
  const amax = g.op('amax', [x], { block: blocks.lhs });
  const scale = g.op('compute_scale', [amax], { max: 448, rounding: 'pow2_up', to: 'f32' });
  const q = g.op('quantize', [x, scale], { to: 'f8e4m3fn', block: blocks.lhs });
  const codes = graph.parameter('codes', randomTensor(random, 'f8e4m3fn', [250, 320]));
  const scales = graph.parameter('scales', randomTensor(random, 'f32', [2, 3]));
  const attributes = { lhs_block: blocks.lhs, rhs_block: blocks.rhs, ...contract };
  g.output('fp8', g.op('scaled_dot', [q, codes, scale, scales], attributes));
  return graph;
}

/** Rows, elements, a cache, and host steps in between. */
function rows(): GraphCase {
  const random = randomSource(22);
  const graph = new GraphCase();
  const { g } = graph;
  const table = graph.parameter('table', randomTensor(random, 'bf16', [300, 64]));
  const ids = graph.input('ids', randomTensor(random, 'i32', [3, 40], 300));
  const x = g.op('convert', [g.op('gather', [table, ids], { axis: 0 })], { to: 'f32' });
  const weight = graph.parameter('weight', randomTensor(random, 'f32', [64]));
  const normal = g.op('rms_norm', [x, weight], { eps: 1e-5 });
  const sum = g.op('reduce', [g.op('exp', [normal])], { kind: 'sum', axes: [2] });
  g.output('sum', sum);
  g.output('swiglu', g.op('swiglu', [normal, g.op('softmax', [x], { axis: 2 })]));
  const turned = g.op('transpose', [normal], { permutation: [0, 2, 1] });
  g.output('log_softmax', g.op('log_softmax', [turned], { axis: 2 }));
  const cache = graph.input('cache', randomTensor(random, 'f32', [3, 90, 64]));
  const start = graph.input('start', randomTensor(random, 'i32', [3], 50));
  g.output('cache', g.op('dynamic_update_slice', [cache, normal, start], { axis: 1 }));
  return graph;
}

function attention(): GraphCase {
  const random = randomSource(23);
  const graph = new GraphCase();
  const { g } = graph;
  const q = graph.input('q', randomTensor(random, 'bf16', [2, 40, 6, 64]));
  const k = graph.input('k', randomTensor(random, 'f8e4m3fn', [2, 150, 2, 64]));
  const v = graph.input('v', randomTensor(random, 'f8e4m3fn', [2, 150, 2, 64]));
  const position = graph.input('position', randomTensor(random, 'i32', [2], 110));
  const scales = ['ks', 'vs'].map((name) => graph.input(name, randomTensor(random, 'f8e8m0fnu', [2, 150, 2, 1])));
  g.output('y', g.op('attention', [q, k, v, position, ...scales], { scale: 0.125, window: 0, probs: 'f8e4m3fn' }));
  return graph;
}

const graphs = { products, rows, attention };

type Results = Readonly<Record<string, HostTensor>>;

function bytesOf(results: Results): Record<string, Buffer> {
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [
      name,
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    ]),
  );
}

async function runOn(executor: Executor, graph: GraphCase, times = 2): Promise<Record<string, Buffer>> {
  await using session = await Session.open(graph.module(), executor);
  const first = bytesOf(await session.run('main', graph.inputs));
  for (let i = 1; i < times; i++) expect(bytesOf(await session.run('main', graph.inputs))).toEqual(first);
  return first;
}

const openWasm = (threads: number, profile = false) => cpuPlugin.open({ device: 'wasm', threads, profile });

/** Some seconds of one thread's work. */
async function openLongRun(executor: Executor): Promise<(signal?: AbortSignal) => Promise<unknown>> {
  const random = randomSource(24);
  const graph = new GraphCase();
  let x = graph.input('x', randomTensor(random, 'f32', [1, 2048, 512]));
  const w = graph.parameter('w', randomTensor(random, 'f32', [512, 512]));
  for (let i = 0; i < 40; i++) x = graph.g.op('dot_general', [x, w], contract);
  graph.g.output('y', x);
  const session = await Session.open(graph.module(), executor);
  return (signal) => session.run('main', graph.inputs, signal ? { signal } : {});
}

const { Worker } = workerThreads;

/** Until the test ends, threads are made by this class. */
function replaceWorker(replacement: typeof Worker): void {
  vi.spyOn(workerThreads, 'Worker').mockImplementation(replacement);
}

test.each(Object.keys(graphs) as (keyof typeof graphs)[])(
  '%s: the bits of native code and of one thread',
  async (name) => {
    await using native = await cpuPlugin.open({ threads: 2 });
    await using alone = await openWasm(1);
    const expected = await runOn(native, graphs[name]());
    expect(await runOn(alone, graphs[name]())).toEqual(expected);
    for (const threads of name === 'products' ? [2, 3, 4, 16] : [2, 3, 4]) {
      await using executor = await openWasm(threads);
      expect(executor.device).toMatchObject({
        name: `CPU (WebAssembly SIMD, ${threads} threads)`,
        details: { threads },
      });
      expect(executor.device.details).not.toHaveProperty('why_fewer_threads');
      expect(await runOn(executor, graphs[name](), 5)).toEqual(expected);
    }
  },
);

test('what it gives to users is memory of its own', async () => {
  await using executor = await openWasm(2);
  const graph = rows();
  await using session = await Session.open(graph.module(), executor);
  for (const { data } of Object.values(await session.run('main', graph.inputs)))
    expect(data.buffer).toBeInstanceOf(ArrayBuffer);
});

test('hundreds of runs, with pauses of any length in between, do not hang', async () => {
  await using few = await openWasm(3);
  await using many = await openWasm(16);
  const graph = products();
  for (const [executor, count] of [
    [few, 400],
    [many, 100],
  ] as const) {
    await using session = await Session.open(graph.module(), executor);
    const expected = bytesOf(await session.run('main', graph.inputs));
    for (let i = 0; i < count; i++) {
      const results = await session.run('main', graph.inputs);
      if (i % 20 === 0) expect(bytesOf(results)).toEqual(expected);
      // Long enough for the threads to fall asleep, and not.
      if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, i % 3));
    }
  }
});

test('two executors at once', async () => {
  await using a = await openWasm(2);
  await using b = await openWasm(3);
  const [first, second] = await Promise.all([runOn(a, products(), 30), runOn(b, products(), 30)]);
  expect(first).toEqual(second);
});

test('an abort ends a run at once, while the event loop goes on; the session can be used on', async () => {
  await using executor = await openWasm(2);
  const run = await openLongRun(executor);
  const attempts: { readonly ticks: number; readonly wait: number }[] = [];
  const good = () => attempts.some(({ ticks, wait }) => ticks > 5 && wait < 50);
  // The machine may be busy with others: one of these finds it free.
  while (!good() && attempts.length < 20) {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const controller = new AbortController();
    let aborted = 0;
    setTimeout(() => {
      aborted = performance.now();
      controller.abort();
    }, 100);
    await expect(run(controller.signal)).rejects.toMatchObject({ code: 'aborted' });
    attempts.push({ ticks, wait: performance.now() - aborted });
    clearInterval(timer);
  }
  expect(good(), JSON.stringify(attempts)).toBe(true);
  await expect(run(AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
  expect(Object.keys(await runOn(executor, products()))).toEqual(['f32', 'bf16', 'fp8']);
});

test('an index out of range is an error, and the next run is right', async () => {
  const random = randomSource(25);
  const graph = new GraphCase();
  const table = graph.parameter('table', randomTensor(random, 'f32', [10, 512]));
  const ids = graph.input('ids', randomTensor(random, 'i32', [4000], 10));
  graph.g.output('y', graph.g.op('gather', [table, ids], { axis: 0 }));
  await using executor = await openWasm(4);
  await using session = await Session.open(graph.module(), executor);
  const good = bytesOf(await session.run('main', graph.inputs));
  const wrong = { ...graph.inputs.ids!, data: Int32Array.from(graph.inputs.ids!.data) };
  wrong.data[3210] = 10;
  await expect(session.run('main', { ids: wrong })).rejects.toMatchObject({ code: 'gather-index' });
  expect(bytesOf(await session.run('main', graph.inputs))).toEqual(good);
});

test.each([1, 3])('profiling adds up the time of every node on %i threads', async (threads) => {
  await using executor = await openWasm(threads, true);
  await runOn(executor, products());
  const events = executor.profile!();
  expect(events.map(({ op }) => op)).toContain('scaled_dot');
  for (const { op, milliseconds } of events) {
    if (op === 'scaled_dot' || op === 'dot_general') expect(milliseconds, op).toBeGreaterThan(0);
    expect(milliseconds, op).toBeLessThan(60_000);
  }
});

describe('the end', () => {
  test('of threads that sleep, again and again', async () => {
    for (let i = 0; i < 10; i++) {
      const executor = await openWasm(4);
      if (i % 2 === 0) await runOn(executor, rows(), 1);
      await executor[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
    }
  });

  test('of an engine that runs is told to who waits', async () => {
    const engine = await WasmEngine.open(2);
    const [from, to] = [engine.allocate(2 ** 26), engine.allocate(2 ** 26)];
    const runs = Array.from({ length: 20 }, () => runOnce(engine, 'unary', [from, to], [4, 1, 2 ** 24]));
    const outcomes = Promise.allSettled(runs);
    await engine.close();
    const last = (await outcomes).at(-1);
    expect(last).toMatchObject({ status: 'rejected', reason: { code: 'executor-disposed' } });
    await expect(runOnce(engine, 'unary', [from, to], [4, 1, 16])).rejects.toMatchObject({ code: 'executor-disposed' });
  });

  test('of a thread by itself is an error, not a hang', async () => {
    const made: workerThreads.Worker[] = [];
    replaceWorker(
      class extends Worker {
        constructor(url: URL, options: workerThreads.WorkerOptions) {
          super(url, options);
          made.push(this);
        }
      },
    );
    await using executor = await openWasm(3);
    const run = await openLongRun(executor);
    const outcome = expect(run()).rejects.toMatchObject({ code: 'executor-thread-lost' });
    setTimeout(() => void made[1]!.terminate(), 50);
    await outcome;
    await expect(run()).rejects.toMatchObject({ code: 'executor-thread-lost' });
  });

  test.each([
    ['after a run without dispose', ''],
    ['in the middle of a run', 'void run(); setTimeout(() => process.exit(), 50);'],
    [
      'after dispose, again and again',
      `await executor[Symbol.asyncDispose]();
      for (let i = 0; i < 5; i++) await (await cpuPlugin.open({ device: 'wasm', threads: 3 }))[Symbol.asyncDispose]();`,
    ],
  ])('of the process comes by itself: %s', async (_, more) => {
    const script = `
      import { cpuPlugin } from '@quaver/executor-cpu';
      import { Session } from '@quaver/executor';
      import { parseModule } from '@quaver/ir';
      const executor = await cpuPlugin.open({ device: 'wasm', threads: 3 });
      const session = await Session.open(parseModule(\`quaver 1 opset core@1
module "m"
symbol B 1..65536

func @main(%x: f32[B,1024]) -> (y: f32[B,1024]) {
  %y = softmax(%x) {axis=1} : f32[B,1024]
  return %y
}
\`), executor);
      const shape = [4096, 1024];
      const run = () => session.run('main', { x: { type: { dtype: 'f32', shape }, data: new Float32Array(2 ** 22) } });
      const { y } = await run();
      console.log(executor.device.details.threads, y.data[0] === 2 ** -10);
      ${more}`;
    // The generated code has enums.
    const flags = ['--experimental-transform-types', '--no-warnings', '--conditions=@quaver/source'];
    const args = [...flags, '--input-type=module', '--eval', script];
    const child = spawn(process.execPath, args, { cwd: fileURLToPath(new URL('..', import.meta.url)) });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    const ended = await new Promise((resolve) => child.on('close', resolve));
    expect([ended, output]).toEqual([0, '3 true\n']);
  });
});

describe('where threads cannot be had it goes on with fewer, and says why', () => {
  test('no shared memory', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined);
    await using executor = await openWasm(4);
    expect(executor.device).toMatchObject({
      name: 'CPU (WebAssembly SIMD, 1 thread)',
      details: { threads: 1, why_fewer_threads: 'there is no SharedArrayBuffer' },
    });
    await runOn(executor, rows());
  });

  test('a page that is not isolated', async () => {
    vi.stubGlobal('crossOriginIsolated', false);
    await using executor = await openWasm(4);
    const { threads, why_fewer_threads: reason } = executor.device.details;
    expect(threads).toBe(1);
    expect(reason).toContain('cross-origin isolated');
  });

  test.each([
    [3, 'CPU (WebAssembly SIMD, 3 threads)', '5 of 8 refused: no more'],
    [0, 'CPU (WebAssembly SIMD, 1 thread)', 'no more'],
  ])('a system that grants %i workers', async (granted, name, reason) => {
    let made = 0;
    replaceWorker(
      class extends Worker {
        constructor(url: URL, options: workerThreads.WorkerOptions) {
          if (made++ >= granted) throw new Error('no more');
          super(url, options);
        }
      },
    );
    await using executor = await openWasm(8);
    expect(executor.device).toMatchObject({ name, details: { why_fewer_threads: reason } });
    await runOn(executor, products());
  });

  test('workers that fail while they start', async () => {
    let made = 0;
    const broken = new URL('data:text/javascript,throw new Error("broken")');
    replaceWorker(
      class extends Worker {
        constructor(url: URL, options: workerThreads.WorkerOptions) {
          super(made++ % 2 === 0 ? url : broken, options);
        }
      },
    );
    await using executor = await openWasm(4);
    expect(executor.device).toMatchObject({ details: { threads: 2, why_fewer_threads: '2 of 4 refused: broken' } });
    await runOn(executor, products());
  });
});
