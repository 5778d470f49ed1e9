import { type Executor, nullPlugin, referencePlugin, Session } from '@quaver/executor';
import type { HostTensor } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { accumulator, chain, f32, f32Parameter, i32, moduleOf, swapper, trainer } from './support/modules.ts';
import { openPlainData } from './support/plain-data-executor.ts';

const values = (tensor: HostTensor | undefined) => [...tensor!.data];

describe('run', () => {
  test('computes from inputs, parameters and state, and updates the state', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    using state = session.createState({ B: 2 });
    const first = await session.run('step', { x: f32([2, 3], [1, 2, 3, 4, 5, 6]) }, { state });
    expect(first.total!.type).toEqual({ dtype: 'f32', shape: [2, 3] });
    expect(values(first.total)).toEqual([1, 20, 300, 4, 50, 600]);
    const second = await session.run('step', { x: f32([2, 3], [1, 1, 1, 1, 1, 1]) }, { state });
    expect(values(second.total)).toEqual([2, 30, 400, 5, 60, 700]);
    expect(values(second.scaled)).toEqual([1, 10, 100, 1, 10, 100]);
    expect(values((await session.run('scale', { x: f32([1, 3], [1, 2, 3]) })).y)).toEqual([2, 4, 6]);
  });

  test('states are apart from each other, and start as zeros', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    const [a, b] = [session.createState({ B: 1 }), session.createState({ B: 1 })];
    expect(a.byteLength).toBe(12);
    await session.run('step', { x: f32([1, 3], [1, 1, 1]) }, { state: a });
    expect(values((await session.run('step', { x: f32([1, 3], [2, 2, 2]) }, { state: b })).total)).toEqual([
      2, 20, 200,
    ]);
  });

  test('brings back only the outputs that are asked for', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    using state = session.createState({ B: 1 });
    const input = { x: f32([1, 3], [1, 1, 1]) };
    expect(Object.keys(await session.run('step', input, { state, outputs: ['scaled'] }))).toEqual(['scaled']);
    expect(await session.run('step', input, { state, outputs: [] })).toEqual({});
    expect(values((await session.run('step', input, { state })).total)).toEqual([3, 30, 300]);
  });

  test.each(['without a copy', 'from downloads'])('outputs are read %s, in the turn of their call', async (how) => {
    await using executor = await referencePlugin().open();
    const real = executor.view!.bind(executor);
    let views = 0;
    const view: Executor['view'] = (buffer) => {
      views++;
      return how === 'without a copy' ? real(buffer) : undefined;
    };
    await using session = await Session.open(accumulator(), Object.assign(executor, { view }));
    using state = session.createState({ B: 1 });
    const input = { x: f32([1, 3], [1, 1, 1]) };
    const total = ({ total: found }: Record<string, HostTensor>) => [...values(found)];
    const first = session.runAndRead('step', input, { state }, total);
    const broken = session.runAndRead('step', input, { state }, () => {
      throw new RangeError('not mine');
    });
    await expect(broken).rejects.toThrow(RangeError);
    expect(await first).toEqual([1, 10, 100]);
    const chosen = { state, outputs: ['total'] };
    expect(await session.runAndRead('step', input, chosen, Object.keys)).toEqual(['total']);
    expect(await session.runAndRead('step', input, chosen, total)).toEqual([4, 40, 400]);
    await expect(session.runAndRead('step', input, chosen, undefined as never)).rejects.toThrow(/fourth argument/);
    const noList = session.run('step', input, { state, outputs: 'total' as never });
    await expect(noList).rejects.toMatchObject({ code: 'session-output-unknown' });
    await expect(session.runAndRead('step', input, chosen, async () => 0)).rejects.toThrow(/gave a promise/);
    const missing = session.runAndRead('step', undefined, chosen, total);
    await expect(missing).rejects.toMatchObject({ code: 'session-input' });
    expect(views).toBeGreaterThan(0);
  });

  test('a view of another size is refused', async () => {
    await using executor = await referencePlugin().open();
    const view = () => new Uint8Array(4);
    await using session = await Session.open(accumulator(), Object.assign(executor, { view }));
    const call = session.runAndRead('scale', { x: f32([1, 3], [1, 2, 3]) }, undefined, () => 0);
    await expect(call).rejects.toMatchObject({
      code: 'executor-plugin-invalid',
      message: expect.stringMatching(/4 bytes for a buffer of 12/),
    });
  });

  test('calls made at the same time run in order, whatever their sizes', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    const states = [1, 2, 3].map((B) => session.createState({ B }));
    const calls = Array.from({ length: 12 }, (_, i) => {
      const rows = 1 + (i % 3);
      return session.run('step', { x: f32([rows, 3], new Array(3 * rows).fill(1)) }, { state: states[i % 3]! });
    });
    const totals = (await Promise.all(calls)).map(({ total }) => values(total));
    for (const [i, found] of totals.entries()) {
      const times = 1 + Math.floor(i / 3);
      const row = [times, 10 * times, 100 * times];
      expect(found).toEqual(new Array(1 + (i % 3)).fill(row).flat());
    }
  });

  test('two states that take over each other are exchanged', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(swapper(), executor);
    using state = session.createState({});
    await session.run('put', { x: f32([2], [1, 2]), y: f32([2], [3, 4]) }, { state });
    expect(values((await session.run('swap', {}, { state })).old_a)).toEqual([1, 2]);
    const { a, b } = await session.run('get', {}, { state });
    expect([values(a), values(b)]).toEqual([
      [3, 4],
      [1, 2],
    ]);
  });
});

describe('weights that functions update', () => {
  test('are what the next call reads, with the state of the functions that were named', async () => {
    await using executor = await openPlainData();
    await using session = await Session.open(trainer(), executor, { computed: ['copy'] });
    using state = session.createState({}, ['train', 'read']);
    expect(state.names).toEqual(['steps']);
    const first = await session.run('train', { x: f32([3], [10, 20, 30]) }, { state });
    expect(values(first.old)).toEqual([1, 2, 3]);
    await session.run('train', { x: f32([3], [1, 1, 1]) }, { state });
    const { w, copy, steps } = await session.run('read', {}, { state });
    expect([values(w), values(copy), values(steps)]).toEqual([[12, 23, 34], [-12, -23, -34], [2]]);
  });

  test('can be read and replaced between calls, and so can states', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(trainer(), executor);
    using state = session.createState({}, ['train']);
    await session.run('train', { x: f32([3], [1, 1, 1]) }, { state });
    const floats = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];
    const bytes = (...numbers: number[]) => new Uint8Array(Float32Array.from(numbers).buffer);
    expect(floats(await session.readParameter('w'))).toEqual([2, 3, 4]);
    expect(floats(await session.readState(state, 'steps'))).toEqual([1]);
    await session.writeParameter('w', bytes(5, 6, 7));
    await session.writeState(state, 'steps', bytes(9));
    const { w, steps } = await session.run('read', {}, { state });
    expect([values(w), values(steps)]).toEqual([[5, 6, 7], [9]]);
  });

  test('wrong names, sizes and states are refused', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(trainer(), executor);
    await using other = await Session.open(trainer(), executor);
    using state = session.createState({}, ['train']);
    using foreign = other.createState({}, ['train']);
    const code = (expected: string) => expect.objectContaining({ code: expected });
    expect(() => session.createState({}, ['leap'])).toThrow(code('session-function-unknown'));
    await expect(session.run('touch', { x: f32([1], [1]) }, { state })).rejects.toThrow(
      code('session-state-incomplete'),
    );
    await expect(session.readParameter('v')).rejects.toThrow(code('session-parameter-unknown'));
    await expect(session.writeParameter('w', new Uint8Array(8))).rejects.toThrow(code('buffer-size'));
    await expect(session.readState(state, 'other')).rejects.toThrow(code('session-state-unknown'));
    await expect(session.readState(foreign, 'steps')).rejects.toThrow(code('session-state-foreign'));
    state.dispose();
    await expect(session.readState(state, 'steps')).rejects.toThrow(code('session-state-disposed'));
  });
});

describe('bad calls are refused, and the session goes on', () => {
  const good = f32([1, 3], [1, 2, 3]);
  test.each<[string, string, Record<string, HostTensor>, string, RegExp]>([
    ['an unknown function', 'leap', { x: good }, 'session-function-unknown', /leap/],
    ['a missing input', 'scale', {}, 'session-input', /'x' of function 'scale' is not given/],
    ['no inputs at all', 'scale', undefined as never, 'session-input', /'x' of function 'scale' is not given/],
    ['null for inputs', 'scale', null as never, 'session-input', /are null/],
    ['a bare array', 'scale', { x: new Float32Array(3) as never }, 'session-input', /is no tensor/],
    ['an extra input', 'scale', { x: good, z: good }, 'session-input', /'z'/],
    ['another dtype', 'scale', { x: i32([1, 3], [1, 2, 3]) }, 'session-input', /is i32, expected f32/],
    [
      'an array of another kind',
      'scale',
      { x: { type: good.type, data: Int32Array.of(1, 2, 3) } },
      'session-input',
      /Int32Array, expected Float32Array/,
    ],
    [
      'fewer elements than the shape says',
      'scale',
      { x: { type: good.type, data: Float32Array.of(1) } },
      'session-input',
      /1 elements, its shape says \[1,3\]/,
    ],
    ['a shape of another rank', 'scale', { x: f32([3], [1, 2, 3]) }, 'shape-mismatch', /ranks differ/],
    ['a shape of another size', 'scale', { x: f32([1, 2], [1, 2]) }, 'shape-mismatch', /dimension 1 is 2, expected 3/],
    ['too many rows', 'scale', { x: f32([5, 3], new Array(15).fill(0)) }, 'session-symbol-range', /B = 5.* 1 to 4/],
    ['no row', 'scale', { x: f32([0, 3], []) }, 'session-symbol-range', /B = 0/],
    ['no state', 'step', { x: good }, 'session-state-missing', /step/],
  ])('%s', async (_, name, inputs, code, message) => {
    const executor = await openPlainData();
    await using session = await Session.open(accumulator(), executor);
    await expect(session.run(name, inputs)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(values((await session.run('scale', { x: good })).y)).toEqual([2, 4, 6]);
  });

  test('an output that the function does not have', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    await expect(session.run('scale', { x: good }, { outputs: ['y', 'z'] })).rejects.toMatchObject({
      code: 'session-output-unknown',
    });
  });

  test('states of another size, of another session, or gone', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    await using other = await Session.open(accumulator(), executor);
    const run = (state: ReturnType<Session['createState']>) => session.run('step', { x: good }, { state });
    await expect(run(session.createState({ B: 2 }))).rejects.toMatchObject({ code: 'shape-mismatch' });
    await expect(run(other.createState({ B: 1 }))).rejects.toMatchObject({ code: 'session-state-foreign' });
    const gone = session.createState({ B: 1 });
    gone.dispose();
    await expect(run(gone)).rejects.toMatchObject({ code: 'session-state-disposed' });
    // Another state is made in between: the session forgets those that are gone.
    session.createState({ B: 1 });
    await expect(run(gone)).rejects.toMatchObject({ code: 'session-state-disposed' });
  });

  test.each([
    [{ B: 0 }, 'session-symbol-range'],
    [{ B: 5 }, 'session-symbol-range'],
    [{ B: 1.5 }, 'session-symbol-range'],
    [{ B: Number.NaN }, 'session-symbol-range'],
    [{}, 'dim-unbound'],
  ])('a state for %o', async (symbols, code) => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(accumulator(), executor);
    expect(() => session.createState(symbols as Record<string, number>)).toThrow(expect.objectContaining({ code }));
  });
});

describe('open', () => {
  test('compiles and loads what is named, and says where nodes run', async () => {
    await using executor = await referencePlugin().open();
    const loaded: string[] = [];
    await using session = await Session.open(accumulator(), executor, {
      functions: ['scale', 'scale'],
      onProgress: ({ parameter, loadedBytes, totalBytes }) => loaded.push(`${parameter} ${loadedBytes}/${totalBytes}`),
    });
    expect(loaded).toEqual(['others 12/12']);
    expect(session.assignments('scale').map(({ op, support }) => [op, support.ok])).toEqual([
      ['broadcast_in_dim', true],
      ['multiply', true],
    ]);
    await expect(session.run('step', { x: f32([1, 3], [1, 2, 3]) })).rejects.toMatchObject({
      code: 'session-function-unknown',
    });
  });

  test('errors name the function or the tensor', async () => {
    await using executor = await referencePlugin().open();
    const module = accumulator();
    const open = (change: object, functions = ['step']) =>
      Session.open({ ...module, ...change }, executor, { functions });
    await expect(open({}, ['nothing'])).rejects.toMatchObject({ code: 'session-function-unknown' });
    const [weights, others] = module.parameters;
    const without = [{ ...weights!, data: undefined }, others!];
    await expect(open({ parameters: without })).rejects.toMatchObject({
      code: 'session-parameter-missing',
      where: { tensor: 'weights' },
    });
    const short = [{ ...weights!, data: f32Parameter('weights', [1]).data }, others!];
    await expect(open({ parameters: short })).rejects.toMatchObject({
      code: 'session-parameter-size',
      where: { tensor: 'weights' },
    });
  });

  test('gives everything back when it fails: no memory, no data, a signal', async () => {
    const executor = await openPlainData();
    executor.limit = 20;
    await expect(Session.open(accumulator(), executor)).rejects.toMatchObject({ code: 'executor-out-of-memory' });
    expect(executor.live.size).toBe(0);
    executor.limit = Number.POSITIVE_INFINITY;

    const module = accumulator();
    const broken = {
      ...module.parameters[1]!,
      data: { byteLength: 12, read: () => Promise.reject(new Error('disk')) },
    };
    const parameters = [module.parameters[0]!, broken];
    await expect(Session.open({ ...module, parameters }, executor)).rejects.toThrow('disk');
    expect(executor.live.size).toBe(0);

    const controller = new AbortController();
    const opening = Session.open(module, executor, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(opening).rejects.toMatchObject({ code: 'aborted', cause: new Error('enough') });
    expect(executor.live.size).toBe(0);

    const late = new AbortController();
    const read = (signal?: AbortSignal) => {
      late.abort(new Error('enough'));
      return Promise.reject(signal?.reason);
    };
    const slow = [module.parameters[0]!, { ...module.parameters[1]!, data: { byteLength: 12, read } }];
    const stopped = Session.open({ ...module, parameters: slow }, executor, { signal: late.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'aborted', cause: new Error('enough') });
    expect(executor.live.size).toBe(0);
    expect(executor.disposed, 'the executor stays the caller’s').toBe(false);
  });
});

describe('memory', () => {
  test('a session gives back its programs, parameters, states and buffers', async () => {
    const executor = await openPlainData();
    const session = await Session.open(accumulator(), executor);
    const state = session.createState({ B: 2 });
    session.createState({ B: 1 });
    await session.run('step', { x: f32([2, 3], [1, 2, 3, 4, 5, 6]) }, { state });
    const held = executor.live.size;
    for (const rows of [1, 2, 3, 4, 2, 1]) {
      await session.run('scale', { x: f32([rows, 3], new Array(3 * rows).fill(1)) });
    }
    expect(executor.live.size, 'one input and one output more').toBe(held + 2);
    await session[Symbol.asyncDispose]();
    expect(executor.live.size).toBe(0);
    await session[Symbol.asyncDispose]();
    await expect(session.run('scale', { x: f32([1, 3], [1, 2, 3]) })).rejects.toMatchObject({
      code: 'session-disposed',
    });
    expect(() => session.createState({ B: 1 })).toThrow(expect.objectContaining({ code: 'session-disposed' }));
  });

  test('states that do not fit as a whole are given back in part', async () => {
    const executor = await openPlainData();
    await using session = await Session.open(swapper(), executor);
    const before = executor.live.size;
    executor.limit = 12;
    expect(() => session.createState({})).toThrow(expect.objectContaining({ code: 'executor-out-of-memory' }));
    expect(executor.live.size).toBe(before);
  });

  test('a function that is named twice is compiled once', async () => {
    const executor = await openPlainData();
    const session = await Session.open(accumulator(), executor, { functions: ['scale', 'scale'] });
    expect(executor.live.size, 'one program, one parameter').toBe(2);
    await session[Symbol.asyncDispose]();
  });

  test('a call that finds no memory leaves the session usable', async () => {
    const executor = await openPlainData();
    await using session = await Session.open(accumulator(), executor);
    const call = (rows: number) => session.run('scale', { x: f32([rows, 3], new Array(3 * rows).fill(1)) });
    await call(1);
    executor.limit = 24 + 24;
    await expect(call(4)).rejects.toMatchObject({ code: 'executor-out-of-memory' });
    expect(values((await call(1)).y)).toEqual([2, 2, 2]);
    expect(() => session.createState({ B: 4 })).toThrow(expect.objectContaining({ code: 'executor-out-of-memory' }));
    expect(values((await call(1)).y)).toEqual([2, 2, 2]);
  });

  test('a state that is disposed of in the middle of a call is given back after it', async () => {
    const executor = await openPlainData();
    await using session = await Session.open(accumulator(), executor);
    const state = session.createState({ B: 1 });
    const running = session.run('step', { x: f32([1, 3], [1, 2, 3]) }, { state });
    await Promise.resolve();
    const before = executor.live.size;
    state.dispose();
    expect(executor.live.size).toBe(before);
    expect(values((await running).total)).toEqual([1, 20, 300]);
    // The two buffers of input and outputs were made meanwhile; the state's went.
    const after = session.createState({ B: 1 });
    expect(after.isDisposed).toBe(false);
    const live = executor.live.size;
    after.dispose();
    expect(executor.live.size).toBe(live - 1);
  });

  test('disposal waits for calls that were made before', async () => {
    const executor = await openPlainData();
    const session = await Session.open(accumulator(), executor);
    const call = session.run('scale', { x: f32([1, 3], [1, 2, 3]) });
    await session[Symbol.asyncDispose]();
    expect(values((await call).y)).toEqual([2, 4, 6]);
    expect(executor.live.size).toBe(0);
  });
});

describe('abort', () => {
  const elements = 200_000;
  const x = f32([elements], new Float32Array(elements).fill(1));
  /** Long enough that an abort which is not seen would be noticed: several seconds. */
  const long = chain(10_000, elements);

  test('stops a long run within a moment; the session can be used on', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(long, executor);
    const started = performance.now();
    await expect(session.run('main', { x }, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      code: 'aborted',
      cause: expect.objectContaining({ name: 'TimeoutError' }),
    });
    expect(performance.now() - started).toBeLessThan(1000);
    const ones = { x: f32([elements], new Float32Array(elements).fill(1)) };
    await using short = await Session.open(chain(3, elements), executor);
    expect((await short.run('main', ones)).y!.data[7]).toBe(4);
    await expect(session.run('main', ones, { signal: AbortSignal.timeout(10) })).rejects.toMatchObject({
      code: 'aborted',
    });
  });

  test('a call that waits for its turn is stopped at once, and does not run', async () => {
    await using executor = await referencePlugin().open();
    await using session = await Session.open(long, executor);
    const first = new AbortController();
    const running = session.run('main', { x }, { signal: first.signal });
    const waiting = session.run('main', { x }, { signal: AbortSignal.timeout(20) });
    const late = session.run('main', { x }, { signal: AbortSignal.abort() });
    for (const stopped of [late, waiting]) await expect(stopped).rejects.toMatchObject({ code: 'aborted' });
    const ended = Promise.race([running.catch(() => 'ended'), Promise.resolve('running')]);
    expect(await ended).toBe('running');
    first.abort();
    await expect(running).rejects.toMatchObject({ code: 'aborted' });
  });

  test('a signal that has come already', async () => {
    await using executor = await nullPlugin.open();
    await using session = await Session.open(long, executor);
    const signal = AbortSignal.abort();
    await expect(session.run('main', { x }, { signal })).rejects.toMatchObject({ code: 'aborted' });
    await expect(Session.open(long, executor, { signal })).rejects.toMatchObject({ code: 'aborted' });
  });
});

test('an executor that refuses a primitive is named with the node', async () => {
  const executor = await openPlainData();
  const refusing = Object.create(executor, {
    supports: { value: () => ({ ok: false, code: 'nothing', reason: 'it does nothing', hint: 'Try another.' }) },
  }) as typeof executor;
  await expect(Session.open(accumulator(), refusing)).rejects.toMatchObject({
    code: 'node-unsupported',
    message: expect.stringContaining('it does nothing'),
    hint: 'Try another.',
  });
  expect(executor.live.size).toBe(0);
});

test('a module without functions is open and does nothing', async () => {
  await using executor = await referencePlugin().open();
  await using session = await Session.open(moduleOf([]), executor);
  await expect(session.run('main', {})).rejects.toMatchObject({ code: 'session-function-unknown' });
});
