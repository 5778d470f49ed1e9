import { runConformance, packagedVectors as vectors } from '@quaver/conformance/node';
import { type Executor, nullPlugin, referencePlugin } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { expect, test } from 'vitest';
import { faulty, oneBitOff } from './wrapped.ts';

const only = (filter: string) => ({ vectors, filter });

test('one wrong bit is a failure, and the report says where', async () => {
  const report = await runConformance(oneBitOff, only('rms_norm/2x3x100'));
  expect(report).toMatchObject({ executor: 'faulty', passed: 0, failed: 2, skipped: 0, unsupported: 0 });
  expect(report.cases[0]).toMatchObject({ name: 'rms_norm/2x3x100', op: 'rms_norm', dtypes: ['f32', 'f32'], ulp: 1 });
  expect(report.cases[0]!.reason).toMatch(/^y: 1 of 600 elements differ, by 1 ULP at most; element 0 is .*, expected /);
});

test('without the promise of row invariance, the bound of the case decides', async () => {
  const modest = faulty((real) => ({
    capabilities: { ...real.capabilities, rowInvariant: false },
    async download(buffer) {
      const bytes = await real.download(buffer);
      if (bytes.byteLength > 0) bytes[0]! ^= 1;
      return bytes;
    },
  }));
  expect(await runConformance(modest, only('rms_norm/2x3x100'))).toMatchObject({ passed: 2, failed: 0 });
  expect(await runConformance(modest, only('add/f32 3x67'))).toMatchObject({ passed: 0, failed: 1 });
  const { passed, unsupported, cases } = await runConformance(modest, only('behaviour/row invariance'));
  expect([passed, unsupported]).toEqual([0, cases.length]);
});

test('supports() that lies is a failure', async () => {
  const liar = faulty(() => ({ supports: () => ({ ok: true, native: true }) }));
  const report = await runConformance(liar, only('swiglu/6x9'));
  expect(report.cases.map(({ status, via }) => [status, via])).toEqual([
    ['failed', 'kernel'],
    ['passed', 'body'],
  ]);
});

test('a refused primitive is unsupported, with code and reason', async () => {
  const refuse = (code: string) =>
    faulty((real) => ({
      supports: (node) => (node.op === 'exp' ? { ok: false, code, reason: 'no exponential' } : real.supports(node)),
    }));
  const report = await runConformance(refuse('no-exp'), only('silu/6x9'));
  expect(report).toMatchObject({ passed: 0, failed: 0, unsupported: 2 });
  expect(report.cases[0]!.reason).toMatch(/^\[no-exp\] .*no exponential/);
  const silent = await runConformance(refuse(''), only('silu/6x9'));
  expect(silent).toMatchObject({ failed: 2, unsupported: 0 });
});

test('a skipped case is run: a failure is skipped, a pass fails', async () => {
  const skipList = { 'rms_norm/*': 'one bit is off', 'nothing/*': 'gone' };
  const broken = await runConformance(oneBitOff, { ...only('rms_norm/2x3x100'), skipList });
  expect(broken).toMatchObject({ passed: 0, failed: 0, skipped: 2 });
  expect(broken.cases[0]!.reason).toBe('one bit is off');
  const sound = await runConformance(referencePlugin(), { ...only('rms_norm/2x3x100'), skipList });
  expect(sound).toMatchObject({ passed: 0, failed: 2, skipped: 0 });
  expect(sound.cases[0]!.reason).toBe('unexpected pass; the skip list says: one bit is off');
});

test('an executor that never answers fails its case, and the next case gets a fresh one', async () => {
  let opened = 0;
  const stuck = faulty((real) => {
    opened++;
    return { wait: (fence) => (opened === 1 ? new Promise(() => undefined) : real.wait(fence)) };
  });
  const report = await runConformance(stuck, { ...only('silu/6x9'), caseTimeoutMs: 300 });
  expect(report.cases.map(({ status, reason }) => [status, reason])).toEqual([
    ['failed', 'no result within 0.3 s'],
    ['passed', undefined],
  ]);
});

test('a view that shows other bytes than a download is a failure', async () => {
  const liar = faulty((real) => ({
    view(buffer) {
      const bytes = real.view!(buffer)?.slice();
      if (bytes && bytes.byteLength > 100) bytes[100]! ^= 1;
      return bytes;
    },
  }));
  const report = await runConformance(liar, only('silu/6x9'));
  expect(report.failed).toBe(2);
  expect(report.cases[0]!.reason).toMatch(/^y, as view\(\) shows it: 1 of 54 elements differ/);
});

test('an executor that answers every other time is given up after ten cases', async () => {
  let calls = 0;
  const moody = faulty((real) => ({
    wait: (fence) => (calls++ % 4 < 2 ? new Promise(() => undefined) : real.wait(fence)),
  }));
  const report = await runConformance(moody, { ...only('softmax'), caseTimeoutMs: 30 });
  expect(report.cases.filter(({ reason }) => reason?.startsWith('no result')).length).toBeLessThanOrEqual(10);
  expect(report.cases.at(-1)!.reason).toMatch(/^not run/);
});

test.each([
  [
    'download',
    (real: Executor): Partial<Executor> => ({ download: async (buffer) => (await real.download(buffer)).subarray(4) }),
  ],
  ['compile', (): Partial<Executor> => ({ compile: async () => undefined as never })],
] as const)('a broken %s is named', async (name, broken) => {
  const { cases } = await runConformance(faulty(broken), only('silu/6x9'));
  expect(cases[0]!.reason).not.toMatch(/Suppressed/);
  if (name === 'download') expect(cases[0]!.reason).toMatch(/download\(\) gave 212 bytes for a buffer of 216/);
});

test('an executor that never answers again is given up after three cases', async () => {
  let opened = 0;
  const dead = faulty(() => {
    opened++;
    return { wait: () => new Promise(() => undefined) };
  });
  const report = await runConformance(dead, { ...only('silu'), caseTimeoutMs: 50 });
  const reasons = report.cases.map(({ reason }) => reason);
  expect(reasons.slice(0, 3)).toEqual(Array(3).fill('no result within 0.05 s'));
  expect(new Set(reasons.slice(3))).toEqual(new Set(['not run: 3 cases before gave no result in time']));
  expect(report.failed).toBe(report.cases.length);
  expect(opened).toBe(3);
});

test('known silence in the skip list gives up nobody', async () => {
  const stuck = faulty((real) => ({
    compile(fn, signal) {
      const hangs = fn.nodes.some(({ op }) => op === 'amax');
      return hangs ? new Promise(() => undefined) : real.compile(fn, signal);
    },
  }));
  const options = { ...only('max'), caseTimeoutMs: 50, skipList: { 'amax/*': 'never answers' } };
  const { skipped, cases } = await runConformance(stuck, options);
  expect(skipped).toBeGreaterThan(3);
  expect(cases.filter(({ op, status }) => op === 'maximum' && status !== 'passed')).toEqual([]);
});

test('an executor that does not open again, or does not end, keeps nobody waiting', async () => {
  let opened = 0;
  const closed = faulty((real) => {
    opened++;
    if (opened > 1) throw new Error('gone');
    return { wait: () => new Promise(() => undefined), [Symbol.asyncDispose]: () => new Promise(() => real) };
  });
  const hanging = { ...closed, open: () => (opened === 0 ? closed.open() : new Promise<never>(() => undefined)) };
  const report = await runConformance(hanging, { ...only('silu'), caseTimeoutMs: 50 });
  expect(report.failed).toBe(report.cases.length);
});

test.each([0, -1, Number.NaN, 2 ** 31])('a time of %d ms for a case is refused', async (caseTimeoutMs) => {
  const refused = runConformance(referencePlugin(), { ...only('silu'), caseTimeoutMs });
  await expect(refused).rejects.toMatchObject({ code: 'conformance-timeout' });
});

test.each([undefined, {}, 1n, { ok: true }, { ok: false, code: 'no' }, Promise.resolve({ ok: true })])(
  'supports() that answers %o fails the case and says so',
  async (answer) => {
    const report = await runConformance(
      faulty(() => ({ supports: () => answer as never })),
      only('silu/6x9'),
    );
    expect(report.cases[0]).toMatchObject({ status: 'failed' });
    expect(report.cases[0]!.reason).toMatch(/executor-plugin-invalid.*supports\(\) answered/);
  },
);

test('behaviour is tested too', async () => {
  const broken = {
    'behaviour/device loss': faulty(() => ({ lost: Promise.resolve({ reason: 'says so' }) })),
    'behaviour/out of memory': faulty((real) => ({ allocate: (size, usage) => real.allocate(size % 64, usage) })),
    'behaviour/buffers/wrong size': faulty((real) => ({
      upload: (buffer, bytes) => (bytes.byteLength === 100 ? real.upload(buffer, bytes) : Promise.resolve()),
    })),
    'behaviour/abort/during': faulty((real) => ({ submit: (program, bindings) => real.submit(program, bindings) })),
    'behaviour/row invariance/softmax': nullPlugin,
    'behaviour/determinism': oneBitOff,
    'behaviour/state/two states': nullPlugin,
    'behaviour/aliasing/one input': nullPlugin,
    'behaviour/ordering': nullPlugin,
    'behaviour/an index': nullPlugin,
  };
  for (const [filter, plugin] of Object.entries(broken)) {
    const report = await runConformance(plugin, only(filter));
    // The null executor gives the same zeros for every row, and one flipped bit is flipped always.
    const consistent = ['behaviour/row invariance/softmax', 'behaviour/determinism'].includes(filter);
    expect([filter, report.failed]).toEqual([filter, consistent ? 0 : 1]);
  }
});

test('a signal stops the run', async () => {
  const controller = new AbortController();
  const run = runConformance(referencePlugin(), {
    vectors,
    signal: controller.signal,
    onProgress: ({ done }) => done === 5 && controller.abort(),
  });
  await expect(run).rejects.toMatchObject({ code: 'aborted' });
});

test.each([
  [{ ...referencePlugin(), apiVersion: 2 }, 'executor-plugin-invalid'],
  [{ ...referencePlugin(), open: () => Promise.reject(new QuaverError('no-device', 'none')) }, 'no-device'],
])('what keeps cases from running is thrown: %#', async (plugin, code) => {
  await expect(runConformance(plugin as never, { vectors })).rejects.toMatchObject({ code });
});

test('a filter that no case has is an error', async () => {
  const run = runConformance(referencePlugin(), only('no such case'));
  await expect(run).rejects.toMatchObject({ code: 'conformance-filter' });
});
