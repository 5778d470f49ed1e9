import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openCheckpoint } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  CheckpointStore,
  type CheckpointStoreOptions,
  type CheckpointToSave,
  latestCheckpoint,
  listCheckpoints,
  lockRunFolder,
  openTrainingCheckpoint,
  parametersSha256,
  type RunLock,
} from '../../src/node.ts';
import { bytesOf, parametersOf, stateOf } from './step-tensors.ts';

let run: string;
let lock: RunLock;
beforeEach(async () => {
  run = await mkdtemp(path.join(tmpdir(), 'quaver-store-'));
  lock = await lockRunFolder(run);
});
afterEach(async () => {
  await rm(run, { recursive: true });
});

const openStore = (options: Partial<CheckpointStoreOptions> = {}) =>
  CheckpointStore.open(lock, { module: 'm', ...options });
const of = (step: number, more: Partial<CheckpointToSave> = {}): CheckpointToSave => ({
  step,
  parameters: parametersOf(step),
  state: stateOf(step),
  json: { epoch: step },
  ...more,
});
const fileOf = (step: number, name: string) =>
  path.join(run, 'checkpoints', `step-${String(step).padStart(8, '0')}`, name);
const steps = async (store: CheckpointStore) => (await store.list()).map(({ step }) => step);

async function failure(promise: Promise<unknown>): Promise<QuaverError> {
  const error = await promise.then(
    () => undefined,
    (error) => error,
  );
  expect(error).toBeInstanceOf(QuaverError);
  return error;
}

test('what was saved comes back with the same bits, in files that other tools read', async () => {
  const store = await openStore();
  const json = {
    position: { file: 'ä.jsonl', byte: 123 },
    seed: '9007199254740993',
    2: [1.5, -0, 1e-300, null],
    ['__proto__']: 1,
  };
  expect(await store.save(of(500, { json, metric: 2.5 }))).toMatchObject({ step: 500, metric: 2.5 });
  const opened = await store.open(500);
  expect(opened.json).toEqual(JSON.parse(JSON.stringify(json)));
  expect(opened.parameters.get('layers.0.weight')).toMatchObject({ dtype: 'f32', shape: [777, 64] });
  expect(await opened.state.get('amax')!.read()).toEqual(bytesOf('amax', 500, 6));
  await opened.close();

  const manifest = JSON.parse(await readFile(fileOf(500, 'trainer.json'), 'utf8'));
  const bytes = await readFile(fileOf(500, 'model.safetensors'));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  expect(manifest.files['model.safetensors']).toEqual({ bytes: bytes.byteLength, sha256 });
  const checkpoint = await openCheckpoint(fileOf(500, 'model.safetensors'));
  expect([...checkpoint.tensors.keys()].sort()).toEqual(['embed', 'layers.0.weight', 'norm']);
  await checkpoint.close();
});

test('one tensor is in memory at a time, and each is asked for once', async () => {
  const store = await openStore();
  const events: string[] = [];
  const parameters = ['a', 'b', 'c'].map((name) => ({
    name,
    dtype: 'u8' as const,
    shape: [4],
    async read() {
      events.push(name);
      return bytesOf(name, 1, 4);
    },
  }));
  await store.save(of(1, { parameters, state: [] }));
  expect(events).toEqual(['a', 'b', 'c']);
});

test('the latest and the best are kept, and a metric that is no number is never the best', async () => {
  const store = await openStore({ keepLast: 2, keepBest: 2 });
  const metrics = [3, 1, Number.NaN, 2, Number.POSITIVE_INFINITY, 4, 5];
  for (const [i, metric] of metrics.entries()) await store.save(of((i + 1) * 10, { metric }));
  expect(await steps(store)).toEqual([20, 40, 60, 70]);
  expect(await store.best()).toMatchObject({ step: 20, metric: 1 });
  expect(await store.latest()).toMatchObject({ step: 70, metric: 5 });
  await store.save(of(80, { metric: Number.NaN }));
  expect((await store.latest())?.metric).toBeNaN();
  const opened = await openTrainingCheckpoint(run, 80);
  expect(opened.metric).toBeNaN();
  await opened.close();
});

test('of equal metrics the earlier is the best; without a metric there is none', async () => {
  const store = await openStore();
  await store.save(of(1));
  expect(await store.best()).toBeUndefined();
  await store.save(of(2, { metric: 7 }));
  await store.save(of(3, { metric: 7 }));
  expect(await store.best()).toMatchObject({ step: 2 });
});

test('a step that is saved again takes the place of the one before', async () => {
  const store = await openStore();
  await store.save(of(5));
  await store.save(of(5, { json: 'again', parameters: parametersOf(6) }));
  const opened = await store.open(5);
  expect(opened.json).toBe('again');
  expect(await opened.parameters.get('norm')!.read()).toEqual(bytesOf('norm', 6, 256));
  await opened.close();
  expect(await readdir(path.join(run, 'checkpoints'))).toEqual(['step-00000005']);
});

test('opening clears away what crashes left, puts back what was to be replaced, and touches nothing else', async () => {
  const store = await openStore();
  await store.save(of(1));
  await store.save(of(2));
  const folder = path.join(run, 'checkpoints');
  const complete = path.join(folder, 'step-00000001');
  await cp(complete, path.join(folder, 'step-00000003.0123456789ab.partial'), { recursive: true });
  await cp(complete, path.join(folder, 'step-00000001.0123456789ab.removed'), { recursive: true });
  await cp(complete, path.join(folder, 'step-00000001.0123456789ab.replaced'), { recursive: true });
  await rename(path.join(folder, 'step-00000002'), path.join(folder, 'step-00000002.0123456789ab.replaced'));
  await mkdir(path.join(folder, 'step-00000009.mine'));
  await mkdir(path.join(folder, 'notes.partial'));
  const again = await openStore();
  expect((await readdir(folder)).sort()).toEqual([
    'notes.partial',
    'step-00000001',
    'step-00000002',
    'step-00000009.mine',
  ]);
  expect(await steps(again)).toEqual([1, 2]);
  await (await again.open(2)).close();
});

test.each(['model.safetensors', 'optimizer.safetensors'])(
  'a changed bit, a missing byte and a missing %s are named',
  async (name) => {
    const store = await openStore();
    await store.save(of(1));
    await store.save(of(2));
    const file = fileOf(2, name);
    const bytes = await readFile(file);
    const changed = Buffer.from(bytes);
    changed[bytes.length - 1]! ^= 1;
    await writeFile(file, changed);
    const error = await failure(store.open(2));
    expect(error.code).toBe('checkpoint-corrupt');
    expect(error.where.file).toBe(file);
    expect(error.message).toContain(name);

    await truncate(file, bytes.length - 1);
    expect(await failure(store.open(2))).toMatchObject({ code: 'checkpoint-corrupt', where: { file } });
    const latest = await failure(store.latest());
    expect(latest).toMatchObject({ code: 'checkpoint-corrupt', where: { file } });
    expect(latest.hint).toContain('Step 1 is complete');

    await rm(file);
    expect(await failure(store.open(2))).toMatchObject({ code: 'checkpoint-incomplete', where: { file } });
    expect(await failure(store.latest())).toMatchObject({ code: 'checkpoint-incomplete' });
    expect(await steps(store)).toEqual([1]);
    // What is damaged is neither counted nor removed.
    for (const step of [3, 4, 5, 6]) await store.save(of(step));
    expect((await readdir(path.join(run, 'checkpoints'))).sort()).toEqual(
      [2, 4, 5, 6].map((step) => `step-0000000${step}`),
    );
  },
);

test('a manifest is refused when it is no JSON, says something else, or comes from another release', async () => {
  const store = await openStore();
  await store.save(of(1, { json: { position: 41 } }));
  const file = fileOf(1, 'trainer.json');
  const text = await readFile(file, 'utf8');
  const withText = async (changed: string) => {
    expect(changed).not.toBe(text);
    await writeFile(file, changed);
    return failure(store.open(1));
  };
  for (const changed of [text.replace('41', '42'), text.slice(0, 60), '[]', text.replace('"step":1', '"step":-1')]) {
    expect(await withText(changed)).toMatchObject({ code: 'checkpoint-corrupt', where: { file } });
  }
  expect(await withText(text.replace('"version":1', '"version":2'))).toMatchObject({
    code: 'checkpoint-unknown-version',
  });
  await writeFile(file, text);
  await (await store.open(1)).close();
  // A folder that was given another name is not the checkpoint of that step.
  await rename(path.dirname(file), path.dirname(fileOf(7, 'trainer.json')));
  expect(await failure(store.open(7))).toMatchObject({ code: 'checkpoint-corrupt' });
});

test('the checkpoint of another model, and one that is not there', async () => {
  await (await openStore()).save(of(1));
  const other = await openStore({ module: 'other' });
  expect(await failure(other.open(1))).toMatchObject({ code: 'checkpoint-of-another-model' });
  const error = await failure(other.open(2));
  expect(error).toMatchObject({ code: 'checkpoint-not-found' });
  expect(error.hint).toContain('steps 1');
  expect(await listCheckpoints(path.join(run, 'nothing'))).toEqual([]);
  expect(await latestCheckpoint(path.join(run, 'nothing'))).toBeUndefined();
});

test('the checkpoint of another model says what differs, where both know what they are made of', async () => {
  const parts = { optimizer: { name: 'sgd', momentum: 0 }, recipe: 'bf16', shape: { a: [2, 3] } };
  await (await openStore({ module: 'a', parts })).save(of(1));
  const problem = async (changes: object) =>
    (await failure((await openStore({ module: 'b', parts: { ...parts, ...changes } })).open(1))).message;
  expect(await problem({ recipe: 'f32' })).toMatch(/: recipe was "bf16" and is "f32"$/);
  expect(await problem({ optimizer: { name: 'sgd' } })).toMatch(/: optimizer\.momentum was 0 and is not there$/);
  expect(await problem({ recipe: null, shape: { a: [3], b: [1], c: [2] } })).toMatch(
    /: recipe was "bf16" and is null; shape\.a was \[2,3\] and is \[3\]; shape\.b was not there and is \[1\]; and 1 more$/,
  );
  // Of what has no parts, or the same ones, the identities are all that is known.
  const identities = /: belongs to the model a, expected b$/;
  expect(await problem({})).toMatch(identities);
  expect((await failure((await openStore({ module: 'b' })).open(1))).message).toMatch(identities);
  // As the first releases saved them.
  await (await openStore({ module: 'a' })).save(of(1));
  expect(await problem({ recipe: 'f32' })).toMatch(identities);
});

test('a save that fails leaves nothing of itself and the rest as it was', async () => {
  const store = await openStore();
  await store.save(of(1));
  const bad = { name: 'x', dtype: 'f32' as const, shape: [2], read: () => new Uint8Array(7) };
  const aborted = new AbortController();
  const aborting = { ...bad, read };
  function read() {
    aborted.abort();
    return new Uint8Array(8);
  }
  const cases: [Partial<CheckpointToSave>, string][] = [
    [{ state: [bad] }, 'tensor-size-mismatch'],
    [{ parameters: [bad, bad] }, 'tensor-duplicate-name'],
    [{ json: { best: Number.POSITIVE_INFINITY } }, 'checkpoint-bad-state'],
    [{ state: [aborting, ...stateOf(2)], signal: aborted.signal }, 'aborted'],
  ];
  for (const [more, code] of cases) expect(await failure(store.save(of(2, more)))).toMatchObject({ code });
  expect(await failure(store.save(of(1.5)))).toMatchObject({ code: 'checkpoint-bad-step' });
  expect(await failure(openStore({ keepLast: 0 }))).toMatchObject({ code: 'checkpoint-bad-options' });
  expect(await readdir(path.join(run, 'checkpoints'))).toEqual(['step-00000001']);
  await (await store.open(1)).close();
});

test('the hash of all parameters does not depend on their order', async () => {
  // printf '\001\002\003\004\005\006' | sha256sum: "A" < "a" < "\uffff" < "😀" as UTF-8, but not as UTF-16
  const parts: [string, number[]][] = [
    ['😀', [6]],
    ['a', [3, 4]],
    ['\uffff', [5]],
    ['A', [1, 2]],
  ];
  const tensors = parts.map(([name, bytes]) => ({ name, read: async () => Uint8Array.from(bytes) }));
  expect(await parametersSha256(tensors)).toBe('7192385c3c0605de55bb9476ce1d90748190ecb32a8eed7f5207b30cf6a1fe89');
});
