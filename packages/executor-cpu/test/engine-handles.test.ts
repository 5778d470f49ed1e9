/** @file The addon and the engines given what they cannot use: they throw, and go on. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Engine } from '../src/engine/engine.ts';
import type { EngineHandle, ProgramHandle } from '../src/engine/load-addon.ts';
import { addon, engineKinds, isas, openNative } from './engines.ts';
import { imageOf, type RawCall } from './images.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });
const fill: RawCall = { op: 'fill', pointers: [[0, 0]], numbers: [1, 16, 4, 7] };
const image = imageOf((name) => addon.ops().indexOf(name), [fill]);
const gather: RawCall = {
  op: 'gather',
  pointers: [
    [0, 0],
    [0, 64],
    [0, 128],
  ],
  numbers: [1, 1, 4, 4],
};

const opened: EngineHandle[] = [];
afterEach(() => {
  for (const engine of opened.splice(0)) {
    try {
      addon.close(engine);
    } catch {
      // The test has closed it.
    }
  }
});
function open(threads = 2): EngineHandle {
  const engine = addon.open(isas[0]!, threads);
  opened.push(engine);
  return engine;
}
const run = (program: ProgramHandle) =>
  new Promise<readonly number[] | null | undefined>((resolve) => addon.run(program, resolve));

describe('the addon', () => {
  test('refuses handles of another type, or none', () => {
    const engine = open();
    const program = addon.load(engine, image, [addon.allocate(engine, 64, false)!], false);
    const strangers: readonly unknown[] = [undefined, null, 0, 1, 'engine', {}, [], () => 0, Symbol('engine'), 1n];
    const engineCalls = [
      (handle: EngineHandle) => addon.threads(handle),
      (handle: EngineHandle) => addon.close(handle),
      (handle: EngineHandle) => addon.allocate(handle, 64, false),
      (handle: EngineHandle) => addon.release(handle, new ArrayBuffer(64)),
      (handle: EngineHandle) => addon.packedBytes(handle, 0, 1, 1),
      (handle: EngineHandle) => addon.stagedBytes(handle, 0, 0, 1, 1),
      (handle: EngineHandle) => addon.load(handle, image, [], false),
    ];
    const programCalls = [
      (handle: ProgramHandle) => addon.phases(handle),
      (handle: ProgramHandle) => addon.run(handle, () => undefined),
      (handle: ProgramHandle) => addon.stop(handle),
      (handle: ProgramHandle) => addon.seconds(handle),
      (handle: ProgramHandle) => addon.unload(handle),
    ];
    for (const call of engineCalls)
      for (const handle of [...strangers, program, Object.create(engine)])
        expect(() => call(handle as EngineHandle), `${call}`).toThrow(code('kernel-argument'));
    for (const call of programCalls)
      for (const handle of [...strangers, engine, Object.create(program)])
        expect(() => call(handle as ProgramHandle), `${call}`).toThrow(code('kernel-argument'));
    addon.unload(program);
    for (const call of programCalls.slice(0, 4)) expect(() => call(program)).toThrow(code('kernel-argument'));
    addon.unload(program);
    addon.close(engine);
    for (const call of engineCalls) expect(() => call(engine)).toThrow(code('kernel-argument'));
  });

  test('refuses arguments of another type or out of range', () => {
    const engine = open();
    const none = undefined as never;
    for (const bytes of [none, null as never, '64' as never, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      expect(() => addon.allocate(engine, bytes, false), `${bytes}`).toThrow(code('kernel-argument'));
    expect(addon.allocate(engine, 2 ** 53 - 1, false)).toBe(null);
    for (const threads of [none, 0, -1, 1.5, Number.NaN, 5000, 2 ** 32 + 1])
      expect(() => addon.open(isas[0]!, threads), `${threads}`).toThrow(code('kernel-argument'));
    for (const isa of [none, 1 as never, {} as never])
      expect(() => addon.open(isa, 1)).toThrow(code('kernel-argument'));
    for (const isa of ['', 'wasm', 'x'.repeat(1000), `${isas[0]}\0`])
      expect(() => addon.open(isa, 1)).toThrow(code('isa-unknown'));
    for (const [format, n, k] of [
      [4, 1, 1],
      [-1, 1, 1],
      [0, 2 ** 29, 1],
      [0, 1, -1],
      [0.5, 1, 1],
    ] as const) {
      expect(() => addon.packedBytes(engine, format, n, k)).toThrow(code('kernel-argument'));
      expect(() => addon.stagedBytes(engine, format, 0, n, k)).toThrow(code('kernel-argument'));
    }
    const memory = addon.allocate(engine, 64, false)!;
    const images: readonly unknown[] = [
      none,
      null,
      [...image],
      new Float32Array(image),
      image.buffer,
      new DataView(image.buffer),
    ];
    for (const other of images)
      expect(() => addon.load(engine, other as Float64Array, [memory], false)).toThrow(code('kernel-argument'));
    for (const buffers of [none, null, memory, { length: 1, 0: memory }, new Set([memory])] as never[])
      expect(() => addon.load(engine, image, buffers, false)).toThrow(code('kernel-argument'));
    for (const profile of [none, 0, 1, 'true'] as never[])
      expect(() => addon.load(engine, image, [memory], profile)).toThrow(code('kernel-argument'));
    const program = addon.load(engine, image, [memory], false);
    for (const done of [none, null, {}, 'done'] as never[])
      expect(() => addon.run(program, done)).toThrow(code('kernel-argument'));
  });

  test('refuses memory that it did not allocate, of another engine, released, or detached', () => {
    const engine = open();
    const other = open();
    const load = (memory: unknown) => addon.load(engine, image, [memory as ArrayBuffer], false);
    const own = addon.allocate(engine, 64, false)!;
    const foreign = [
      new ArrayBuffer(64),
      new SharedArrayBuffer(64),
      new Uint8Array(own),
      new DataView(own),
      own.slice(0),
      addon.allocate(other, 64, false)!,
      null,
      undefined,
      64,
      {},
    ];
    for (const memory of foreign) {
      expect(() => load(memory)).toThrow(code('buffer-foreign'));
      expect(() => addon.release(engine, memory as ArrayBuffer)).toThrow(code('buffer-foreign'));
    }
    addon.release(engine, own);
    expect(own.byteLength).toBe(0);
    expect(() => load(own)).toThrow(code('buffer-foreign'));
    expect(() => addon.release(engine, own)).toThrow(code('buffer-foreign'));
    // Node lets nobody have it but who asked for it.
    const moved = addon.allocate(engine, 64, false)!;
    expect(() => structuredClone(moved, { transfer: [moved] })).toThrow(/transfer/i);
    addon.unload(load(moved));
  });

  test('a list of memory that does things when it is read', () => {
    const engine = open();
    const memory = addon.allocate(engine, 64, false)!;
    const throwing = Object.defineProperty([memory], 0, {
      get: () => {
        throw new RangeError('no');
      },
    });
    expect(() => addon.load(engine, image, throwing, false)).toThrow(RangeError);
    const closing = Object.defineProperty([memory], 0, {
      get: () => {
        addon.close(engine);
        return memory;
      },
    });
    expect(() => addon.load(engine, image, closing, false)).toThrow(code('engine-closed'));
  });

  test('programs keep memory that was released, and end when their engine does', async () => {
    const engine = open();
    const memory = addon.allocate(engine, 64, false)!;
    const program = addon.load(engine, image, [memory], false);
    addon.release(engine, memory);
    for (let i = 0; i < 20; i++) expect(await run(program)).toBe(undefined);
    addon.close(engine);
    expect(() => addon.run(program, () => undefined)).toThrow(code('engine-closed'));
    expect(addon.phases(program)).toEqual([1, 1, 0]);
    addon.stop(program);
    addon.unload(program);
  });

  test('runs that wait when the engine closes are told of it', async () => {
    const engine = open(1);
    const memory = addon.allocate(engine, 2 ** 22, false)!;
    const softmax: RawCall = {
      op: 'softmax',
      pointers: [
        [0, 0],
        [0, 0],
      ],
      numbers: [0, 1024, 1024],
    };
    const many = imageOf((name) => addon.ops().indexOf(name), new Array<RawCall>(50).fill(softmax));
    const programs = Array.from({ length: 5 }, () => addon.load(engine, many, [memory], false));
    const ends = programs.map(run);
    addon.close(engine);
    expect(await Promise.all(ends)).toEqual([null, null, null, null, null]);
  });
});

test('a program that ended with a failure runs again', async () => {
  for (const kind of engineKinds) {
    const engine = await kind.open();
    const memory = engine.allocate(256);
    const loaded = engine.load(
      imageOf((name) => engine.opCode(name), [fill, gather, fill].slice(1)),
      [memory],
      false,
    );
    for (const index of [4, 1, -1, 3]) {
      new DataView(memory.bytes().buffer, memory.bytes().byteOffset).setInt32(64, index, true);
      const failure = { instruction: 0, position: 0, found: index, limit: 4 };
      expect(await loaded.run(undefined), kind.name).toEqual(index >= 0 && index < 4 ? undefined : failure);
    }
    await engine.close();
  }
});

describe.each(engineKinds.filter(({ name }) => /1 thread$/.test(name) || name.startsWith('wasm')))('$name', (kind) => {
  const using = async (use: (engine: Engine) => void | Promise<void>) => {
    const engine = await kind.open();
    await use(engine);
    await engine.close();
  };

  test('an op that there is not', () =>
    using((engine) => {
      for (const name of ['', 'nothing', 'softmax\0', 'Softmax']) {
        expect(() => engine.opCode(name)).toThrow(code('kernel-unknown'));
      }
    }));

  test('memory starts as zeros, is aligned, and may be released twice', () =>
    using((engine) => {
      const used = engine.allocate(100_000);
      used.bytes().fill(255);
      used.release();
      used.release();
      for (const bytes of [0, 1, 63, 64, 65, 100_000]) {
        const memory = engine.allocate(bytes);
        expect(memory.byteLength).toBe(bytes);
        expect(memory.bytes().length).toBe(bytes);
        expect(memory.bytes().every((byte) => byte === 0)).toBe(true);
      }
    }));

  test('more memory than there is', () =>
    using((engine) => {
      for (const bytes of [engine.maxBytes + 1, 2 ** 40, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(() => engine.allocate(bytes), `${bytes}`).toThrow(code('executor-out-of-memory'));
      }
      expect(engine.allocate(64).bytes().length).toBe(64);
    }));
});

test('all memory together is limited, and what was released counts no more', async () => {
  const { NativeEngine } = await import('../src/engine/native-engine.ts');
  const engine = new NativeEngine(addon, { isa: isas[0]!, threads: 1, maxBytes: 1000 });
  const first = engine.allocate(600);
  expect(() => engine.allocate(401)).toThrow(code('executor-out-of-memory'));
  const second = engine.allocate(400);
  expect(() => engine.allocate(1)).toThrow(code('executor-out-of-memory'));
  first.release();
  first.release();
  expect(() => engine.allocate(601)).toThrow(code('executor-out-of-memory'));
  engine.allocate(600);
  second.release();
  await engine.close();
});

test('the native engine after its end', async () => {
  const engine = openNative(2);
  const memory = engine.allocate(64);
  const loaded = engine.load(image, [memory], false);
  await loaded.run(undefined);
  await engine.close();
  await engine.close();
  await expect(loaded.run(undefined)).rejects.toMatchObject({ code: 'executor-disposed' });
  memory.release();
  loaded.release();
});
