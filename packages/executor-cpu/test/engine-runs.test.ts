/** @file Runs: how they are stopped, what the event loop notices, and that threads change nothing. */
import { execFileSync, spawnSync } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import type { Engine, EngineMemory } from '../src/engine/engine.ts';
import { addon, addonPath, type EngineKind, engineKinds, isas, openNative } from './engines.ts';
import { imageOf, type RawCall } from './images.ts';
import { Random } from './kernels-arena.ts';

const opened: Engine[] = [];
afterEach(async () => {
  for (const engine of opened.splice(0)) await engine.close();
});
async function open(kind: EngineKind): Promise<Engine> {
  const engine = await kind.open();
  opened.push(engine);
  return engine;
}

const whole = (count: number) => Array.from({ length: count }, (_, block) => [block, 0] as const);

/** out[2048, 2048] = a · wᵀ, 64 times: 1.1 TFLOP, which no processor that runs these tests does in a tenth of a second. */
function longProgram(engine: Engine) {
  const side = 2048;
  const memories = [
    engine.allocate(engine.stagedBytes('f32', 'f32', side, side)),
    engine.allocate(engine.packedBytes('f32', side, side)),
    engine.allocate(4 * side * side),
  ];
  const gemm = { op: 'gemm', pointers: [...whole(3), undefined, undefined] };
  const numbers = [0, 0, 0, side, side, side, side, 0, 0, 0, 0, 1, side];
  return engine.load(
    imageOf(
      (name) => engine.opCode(name),
      Array.from({ length: 64 }, () => ({ ...gemm, numbers })),
    ),
    memories,
    false,
  );
}

/** Milliseconds; on a machine that does much else at the same time (the tests of all packages, say) threads wait for processors. */
const greatestLatency = loadavg()[0]! > 2 * availableParallelism() ? 250 : 50;

/** What other work on the machine delays is tried again: the fastest of some attempts counts. */
async function fastest(attempts: number, enough: number, measure: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < attempts && least >= enough; i++) least = Math.min(least, await measure());
  return least;
}

describe.each(engineKinds)('$name', (kind) => {
  test('an abort ends a long program within 50 ms; meanwhile the event loop goes on, afterwards the engine does', async () => {
    const engine = await open(kind);
    const code = longProgram(engine);
    let ticks = 0;
    const latency = await fastest(30, greatestLatency, async () => {
      const controller = new AbortController();
      const ticking = setInterval(() => ticks++, 2);
      const run = code.run(controller.signal);
      const ended = run.then(
        () => 'it ran to its end',
        (error) => (error as { code: string }).code,
      );
      await new Promise((resolve) => setTimeout(resolve, 60));
      const aborted = performance.now();
      controller.abort();
      expect(await ended).toBe('aborted');
      clearInterval(ticking);
      return performance.now() - aborted;
    });
    expect(latency).toBeLessThan(greatestLatency);
    expect(ticks).toBeGreaterThan(0);
    code.release();
    const memory = engine.allocate(64);
    const fill = imageOf((name) => engine.opCode(name), [{ op: 'fill', pointers: whole(1), numbers: [1, 16, 4, 7] }]);
    const next = engine.load(fill, [memory], false);
    expect(await next.run(undefined)).toBeUndefined();
    expect(memory.bytes().every((byte, i) => byte === (i % 4 === 0 ? 7 : 0))).toBe(true);
  });

  test('billions of rows without elements can be stopped, too', async () => {
    const engine = await open(kind);
    const memory = engine.allocate(64);
    const rows = 2 ** 32 - 1;
    const calls: readonly RawCall[] = [
      { op: 'softmax', pointers: [...whole(1), ...whole(1)], numbers: [0, rows, 0] },
      { op: 'quantize_rows', pointers: [...whole(1), ...whole(1), ...whole(1)], numbers: [2, rows, 0, 1, 0] },
    ];
    for (const call of calls) {
      const code = engine.load(
        imageOf((name) => engine.opCode(name), [call]),
        [memory],
        false,
      );
      const started = performance.now();
      await expect(code.run(AbortSignal.timeout(20))).rejects.toMatchObject({ code: 'aborted' });
      expect(performance.now() - started).toBeLessThan(5000);
      code.release();
    }
  });

  test('a signal that was aborted before stops a run before it begins', async () => {
    const engine = await open(kind);
    const memory = engine.allocate(64);
    const fill = imageOf((name) => engine.opCode(name), [{ op: 'fill', pointers: whole(1), numbers: [1, 16, 4, 7] }]);
    const code = engine.load(fill, [memory], false);
    const attempt = async () => code.run(AbortSignal.abort());
    await expect(attempt()).rejects.toMatchObject({ code: 'aborted' });
    expect(memory.bytes().every((byte) => byte === 0)).toBe(true);
    expect(await code.run(new AbortController().signal)).toBeUndefined();
    expect(memory.bytes()[0]).toBe(7);
  });
});

/** Ten phases, all of them worth sharing, that depend on each other; slots of 64 KiB. */
function relay(engine: Engine): { readonly memory: EngineMemory; readonly calls: readonly RawCall[] } {
  const KiB = 1024;
  const memory = engine.allocate(640 * KiB);
  const random = new Random(3);
  new Float32Array(memory.bytes().buffer, memory.bytes().byteOffset, 32 * KiB).set(
    random.f32s(32 * KiB, () => random.normal()),
  );
  const at = (slot: number) => [0, slot * 64 * KiB] as const;
  const calls: RawCall[] = [];
  for (let i = 0; i < 10; i++) {
    const n = [256, 512, 128, 1024][i % 4]!;
    const rows = (16 * KiB) / n;
    const [from, to] = [at(2 + (i % 3)), at(2 + ((i + 1) % 3))];
    if (i === 0) calls.push({ op: 'unary', pointers: [at(0), to], numbers: [5, rows, n] });
    else if (i % 2 === 0) calls.push({ op: 'softmax', pointers: [from, to], numbers: [0, rows, n] });
    else calls.push({ op: 'binary', pointers: [from, at(1), to], numbers: [6, rows, n] });
  }
  return { memory, calls };
}

test('1, 2, 3, 16 and 64 threads give the same bits in several hundred runs each', async () => {
  let expected: Buffer | undefined;
  for (const threads of [1, 2, 3, 16, 64]) {
    const engine = openNative(threads);
    expect(engine.threads).toBe(threads);
    const { memory, calls } = relay(engine);
    const code = engine.load(
      imageOf((name) => engine.opCode(name), calls),
      [memory],
      false,
    );
    for (let i = 0; i < 300; i++) {
      memory.bytes().fill(0, 128 * 1024);
      expect(await code.run(undefined)).toBeUndefined();
      const result = Buffer.from(memory.bytes());
      expected ??= result;
      if (!result.equals(expected)) expect.fail(`run ${i} on ${threads} threads`);
    }
    await engine.close();
  }
});

test('engines of many threads that open and close leave no thread behind', async () => {
  const count = () =>
    process.platform === 'linux'
      ? Number(/Threads:\s*(\d+)/.exec(execFileSync('cat', [`/proc/${process.pid}/status`], { encoding: 'utf8' }))![1])
      : 0;
  const before = count();
  for (let i = 0; i < 30; i++) {
    const engine = openNative(1 + ((i * 7) % 40));
    const { memory, calls } = relay(engine);
    const code = engine.load(
      imageOf((name) => engine.opCode(name), calls),
      [memory],
      false,
    );
    // Now and then while it runs.
    const run = code
      .run(undefined)
      .catch((error: unknown) => expect(error).toMatchObject({ code: 'executor-disposed' }));
    if (i % 3 !== 0) await run;
    await engine.close();
    await run;
  }
  expect(count()).toBeLessThanOrEqual(before);
});

test('engines run at the same time, each on its own', async () => {
  const engines = [1, 2, 3, 4].map((threads) => openNative(threads));
  const runs = engines.map(async (engine) => {
    const { memory, calls } = relay(engine);
    const code = engine.load(
      imageOf((name) => engine.opCode(name), calls),
      [memory],
      false,
    );
    for (let i = 0; i < 50; i++) await code.run(undefined);
    return Buffer.from(memory.bytes());
  });
  const [first, ...others] = await Promise.all(runs);
  for (const other of others) expect(other.equals(first!)).toBe(true);
  for (const engine of engines) await engine.close();
});

test('seconds of instructions add up, where they are asked for', async () => {
  for (const kind of engineKinds) {
    const engine = await open(kind);
    const { memory, calls } = relay(engine);
    const image = imageOf((name) => engine.opCode(name), calls);
    const code = engine.load(image, [memory], true);
    expect(code.seconds()).toEqual(new Array(calls.length).fill(0));
    for (let i = 0; i < 3; i++) await code.run(undefined);
    const once = code.seconds();
    expect(
      once.reduce((sum, seconds) => sum + seconds, 0),
      kind.name,
    ).toBeGreaterThan(0);
    for (let i = 0; i < 3; i++) await code.run(undefined);
    for (const [i, seconds] of code.seconds().entries()) expect(seconds).toBeGreaterThanOrEqual(once[i]!);
    const silent = engine.load(image, [memory], false);
    await silent.run(undefined);
    expect([...silent.seconds()].every((seconds) => seconds === 0)).toBe(true);
  }
});

/** What a script says in a process of its own whose address space ends `megabytes` above what it has. */
function withLittleMemory(megabytes: number, script: string): string {
  const setup = `
    const fs = require('node:fs');
    const limit = () => {
      const kilobytes = Number(/VmSize:\\s*(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
      require('node:child_process').execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + (kilobytes + 1024 * ${megabytes}) * 1024]);
    };
    const addon = require(${JSON.stringify(addonPath)});
  `;
  // Threads with large stacks: what refuses them leaves JavaScript the memory that it needs.
  const shell = ['-c', 'ulimit -s 262144 && exec "$0" "$@"', process.execPath, '-e', setup + script];
  // JavaScript itself may want memory in the wrong moment, and ends the process: before it said anything, that is another
  // try; afterwards it does not matter.
  for (let attempt = 0; ; attempt++) {
    const { stdout, stderr } = spawnSync('sh', shell, { encoding: 'utf8' });
    if (stdout !== '' || attempt === 9) return stdout || stderr;
  }
}

// The limit is Linux's, and root is under it, too; other systems refuse threads and memory in the same calls.
const testOnLinux = process.platform === 'linux' ? test : () => undefined;

testOnLinux('a system that refuses threads: the ones that run will do; or none at all', () => {
  const some = withLittleMemory(
    1100,
    `limit();
     const engine = addon.open(addon.isas()[0], 64);
     const threads = addon.threads(engine);
     const buffer = addon.allocate(engine, 1 << 20, false);
     const image = Float64Array.of(1, addon.ops().indexOf('softmax'), 0, 0, 0, 0, 0, 256, 1024);
     addon.run(addon.load(engine, image, [buffer], false), (failure) => {
       console.log(threads > 0 && threads < 64, failure, new Float32Array(buffer)[0] * 1024);
       addon.close(engine);
     });`,
  );
  expect(some).toBe('true undefined 1\n');
  const none = withLittleMemory(
    120,
    `limit();
     try { addon.open(addon.isas()[0], 64); console.log('opened'); } catch (error) { console.log(error.code); }`,
  );
  expect(none).toBe('thread-refused\n');
});

testOnLinux('a system that refuses memory: null, and everything else goes on', () => {
  const found = withLittleMemory(
    200,
    `const engine = addon.open(addon.isas()[0], 2);
     limit();
     const refused = [2 ** 30, 2 ** 40, 2 ** 52].map((bytes) => addon.allocate(engine, bytes, false));
     const buffer = addon.allocate(engine, 64, false);
     const image = Float64Array.of(1, addon.ops().indexOf('fill'), 0, 0, 1, 16, 4, 7);
     addon.run(addon.load(engine, image, [buffer], false), () => {
       console.log(refused, new Int32Array(buffer)[15]);
       addon.close(engine);
     });`,
  );
  expect(found).toBe('[ null, null, null ] 7\n');
});

test('memory that is released is free at once, not when garbage is collected', async () => {
  const engine = openNative(1);
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 40; i++) {
    const memory = engine.allocate(2 ** 26);
    memory.bytes().fill(1);
    memory.release();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 29);
  await engine.close();
});

test('every instruction set that this processor has is there', () => {
  expect(isas).toEqual([...addon.isas()]);
  expect(isas.at(-1)).toBe(process.arch === 'arm64' ? 'neon' : 'portable');
  expect(() => addon.open('quantum', 1)).toThrow(expect.objectContaining({ code: 'isa-unknown' }));
});
