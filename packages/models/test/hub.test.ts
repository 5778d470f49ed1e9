import { readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { cacheFolder, type PullProgress, pullModel } from '../src/hub/index.ts';
import {
  COMMIT,
  checkpointFiles,
  emptyCache,
  failureOf,
  filesBelow,
  options,
  sha256,
  startHub,
} from './hub-imitation.ts';

const CHECKPOINT = ['config.json', 'model.safetensors', 'tokenizer.json'];

test('a checkpoint comes with its configuration and tokenizer, and with nothing else', async () => {
  const hub = await startHub();
  const events: PullProgress[] = [];
  const pulled = await pullModel(
    'hf:ORG/MODEL',
    options(hub, { cacheFolder: emptyCache(), onProgress: (e) => events.push(e) }),
  );

  expect(filesBelow(pulled.path)).toEqual(CHECKPOINT);
  for (const name of CHECKPOINT) expect(readFileSync(path.join(pulled.path, name)).equals(hub.files[name]!)).toBe(true);
  expect(pulled.bytes).toBe(CHECKPOINT.reduce((sum, name) => sum + hub.files[name]!.length, 0));
  expect(pulled.sha256).toBe(sha256(CHECKPOINT.map((name) => `${sha256(hub.files[name]!)}  ${name}\n`).join('')));
  expect(pulled.cached).toBe(false);

  const weights = events.filter((event) => event.phase === 'download' && event.file === 'model.safetensors');
  const counts = weights.map((event) => (event.phase === 'download' ? event.receivedBytes : -1));
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(weights.at(-1)).toMatchObject({ receivedBytes: 3_000_000, totalBytes: 3_000_000 });
});

test('a second pull of a branch asks for the listing only; a pull of a commit asks for nothing', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache() });
  const first = await pullModel('hf:ORG/MODEL', cache);
  hub.seen.length = 0;
  expect(await pullModel('hf:ORG/MODEL', cache)).toEqual({ ...first, cached: true });
  expect(hub.seen.map((request) => request.path)).toEqual(['/api/models/ORG/MODEL/revision/main?blobs=true']);
  expect(await pullModel(`hf:ORG/MODEL@${COMMIT}`, cache)).toEqual({ ...first, cached: true });
  expect(hub.seen).toHaveLength(1);
});

test('a branch that has moved gives a new snapshot; unlisted revisions are percent-encoded', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache() });
  const first = await pullModel('hf:ORG/MODEL@refs/pr/1', cache);
  hub.commit = 'f'.repeat(40);
  hub.files['config.json'] = Buffer.from('{"model_type": "qwen3"}\n');
  const second = await pullModel('hf:ORG/MODEL@refs/pr/1', cache);
  expect(second).toMatchObject({ cached: false, bytes: first.bytes });
  expect(second.path).not.toBe(first.path);
  expect(readFileSync(path.join(second.path, 'config.json'), 'utf8')).toContain('qwen3');
  expect(readFileSync(path.join(first.path, 'config.json'), 'utf8')).toContain('llama');
  expect(hub.seen[0]!.path).toBe('/api/models/ORG/MODEL/revision/refs%2Fpr%2F1?blobs=true');
});

test('the token reaches the hub and never the storage it redirects to', async () => {
  const hub = await startHub();
  const env = { PATH: '', HF_TOKEN: 'hf_secret', HF_ENDPOINT: hub.endpoint, QUAVER_CACHE: emptyCache() };
  await pullModel('hf:ORG/MODEL', { env });
  const tokens = (origin: string) => new Set(hub.seen.filter((r) => r.origin === origin).map((r) => r.authorization));
  expect(tokens('hub')).toEqual(new Set(['Bearer hf_secret']));
  expect(tokens('cdn')).toEqual(new Set([undefined]));
});

test('shards are taken from the index, subfolders included', async () => {
  const shards = { 'a/model-1.safetensors': Buffer.from('first'), 'a/model-2.safetensors': Buffer.from('second') };
  const index = { weight_map: { x: 'a/model-1.safetensors', y: 'a/model-2.safetensors', z: 'a/model-1.safetensors' } };
  const hub = await startHub({
    'config.json': Buffer.from('{}'),
    'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
    'a/model-3.safetensors': Buffer.from('not in the index'),
    ...shards,
  });
  const pulled = await pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() }));
  expect(filesBelow(pulled.path)).toEqual([...Object.keys(shards), 'config.json', 'model.safetensors.index.json']);
  expect(readFileSync(path.join(pulled.path, 'a/model-2.safetensors'), 'utf8')).toBe('second');
});

test('one GGUF file on request, with its own digest', async () => {
  // SHA-256 of "abc" from FIPS 180-4.
  const digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  const hub = await startHub({ 'q4/model.gguf': Buffer.from('abc'), 'other.gguf': Buffer.from('other') });
  const cache = options(hub, { cacheFolder: emptyCache() });
  const pulled = await pullModel('hf:ORG/MODEL', { ...cache, gguf: 'q4/model.gguf' });
  expect(pulled).toMatchObject({ sha256: digest, bytes: 3, cached: false });
  expect(readFileSync(pulled.path, 'utf8')).toBe('abc');
  expect(await pullModel('hf:ORG/MODEL', { ...cache, gguf: 'q4/model.gguf' })).toEqual({ ...pulled, cached: true });

  const missing = await failureOf(pullModel('hf:ORG/MODEL', { ...cache, gguf: 'q8.gguf' }));
  expect(missing).toMatchObject({ code: 'hub-file-missing' });
  expect(missing.hint).toContain('other.gguf');
});

test('a damaged cached file is noticed and fetched again, alone', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache() });
  const { path: folder } = await pullModel(`hf:ORG/MODEL@${COMMIT}`, cache);
  const damaged = readFileSync(path.join(folder, 'model.safetensors'));
  damaged[1_000_000]! ^= 1;
  writeFileSync(path.join(folder, 'model.safetensors'), damaged);
  hub.seen.length = 0;
  expect(await pullModel(`hf:ORG/MODEL@${COMMIT}`, cache)).toMatchObject({ cached: false });
  expect(hub.seen.filter((request) => request.path.includes('/resolve/')).map((r) => path.basename(r.path))).toEqual([
    'model.safetensors',
  ]);
  expect(readFileSync(path.join(folder, 'model.safetensors')).equals(hub.files['model.safetensors']!)).toBe(true);
});

test('offline: the cache answers, or a clear error, and no request is made', async () => {
  const hub = await startHub();
  const env = { PATH: '', HF_HUB_OFFLINE: '1', HF_ENDPOINT: hub.endpoint, QUAVER_CACHE: emptyCache() };
  const refused = await failureOf(pullModel('hf:ORG/MODEL', { env }));
  expect(refused).toMatchObject({ code: 'hub-offline' });
  expect(refused.message).toContain('ORG/MODEL@main');
  expect(hub.seen).toHaveLength(0);

  const pulled = await pullModel('hf:ORG/MODEL', { env: { ...env, HF_HUB_OFFLINE: '0' } });
  hub.seen.length = 0;
  expect(await pullModel('hf:ORG/MODEL', { env })).toEqual({ ...pulled, cached: true });
  expect(hub.seen).toHaveLength(0);
});

test('when the hub has gone away the cached branch is used, and says so', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache() });
  const pulled = await pullModel('hf:ORG/MODEL', cache);
  await hub.close();
  const events: PullProgress[] = [];
  const again = await pullModel('hf:ORG/MODEL', { ...cache, onProgress: (event) => events.push(event) });
  expect(again).toEqual({ ...pulled, cached: true });
  expect(events.find((event) => event.phase === 'fallback')).toMatchObject({
    reason: expect.stringContaining('ECONNREFUSED'),
  });
});

test('a mirror without commit ids and digests works; the redirect header still guards large files', async () => {
  const hub = await startHub();
  hub.list = ({ siblings }) => ({ siblings: siblings.map(({ rfilename }) => ({ rfilename })) });
  const cache = options(hub, { cacheFolder: emptyCache() });
  const pulled = await pullModel('hf:ORG/MODEL', cache);
  expect(filesBelow(pulled.path)).toEqual(CHECKPOINT);
  expect(hub.seen.some((request) => request.path === '/ORG/MODEL/resolve/main/config.json')).toBe(true);
  expect(await pullModel('hf:ORG/MODEL', cache)).toEqual({ ...pulled, cached: true });

  hub.cdn = (_request, response, content) => response.end(Buffer.alloc(content.length));
  const forged = await failureOf(pullModel('hf:ORG/MODEL', { ...cache, cacheFolder: emptyCache() }));
  expect(forged).toMatchObject({ code: 'hub-checksum-mismatch' });
});

test('pulls of one model at the same time in one process agree', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache() });
  const results = await Promise.all(Array.from({ length: 4 }, () => pullModel('hf:ORG/MODEL', cache)));
  expect(new Set(results.map((result) => `${result.path} ${result.sha256}`)).size).toBe(1);
  expect(filesBelow(results[0]!.path)).toEqual(CHECKPOINT);
  expect(
    readFileSync(path.join(results[0]!.path, 'model.safetensors')).equals(checkpointFiles()['model.safetensors']!),
  ).toBe(true);
});

test.each([
  ['linux', { QUAVER_CACHE: '/q', XDG_CACHE_HOME: '/x', HOME: '/h' }, '/q'],
  ['linux', { QUAVER_CACHE: '', XDG_CACHE_HOME: '/x', HOME: '/h' }, '/x/quaver'],
  ['linux', { HOME: '/h' }, '/h/.cache/quaver'],
  ['linux', { HOME: '/h', XDG_CACHE_HOME: 'relative' }, '/h/.cache/quaver'],
  ['darwin', { QUAVER_CACHE: '/q/../r', HOME: '/h' }, '/r'],
  ['darwin', { XDG_CACHE_HOME: '/x', HOME: '/h' }, '/x/quaver'],
  ['darwin', { HOME: '/h' }, '/h/Library/Caches/quaver'],
  ['win32', { QUAVER_CACHE: 'D:/q', LOCALAPPDATA: 'C:\\l' }, 'D:\\q'],
  ['win32', { XDG_CACHE_HOME: 'D:\\x', LOCALAPPDATA: 'C:\\l' }, 'D:\\x\\quaver'],
  ['win32', { LOCALAPPDATA: 'C:\\l', USERPROFILE: 'C:\\u', HOME: '/h' }, 'C:\\l\\quaver\\cache'],
  ['win32', { USERPROFILE: 'C:\\u', HOME: '/h' }, 'C:\\u\\AppData\\Local\\quaver\\cache'],
] as const)('on %s, the cache folder of %o is %s', (platform, env, folder) => {
  expect(cacheFolder(env, platform)).toBe(folder);
});

test('without variables, the cache is under the home folder and the platform is this one', () => {
  for (const platform of ['linux', 'darwin'] as const) {
    expect(cacheFolder({}, platform)).toBe(cacheFolder({ HOME: homedir() }, platform));
  }
  expect(cacheFolder({}, 'win32')).toBe(cacheFolder({ USERPROFILE: homedir() }, 'win32'));
  const env = { HOME: homedir(), USERPROFILE: homedir() };
  expect(cacheFolder(env)).toBe(cacheFolder(env, process.platform));
});
