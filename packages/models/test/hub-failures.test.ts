import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type PullProgress, pullModel } from '../src/hub/index.ts';
import { emptyCache, failureOf, filesBelow, noise, options, serveRange, startHub } from './hub-imitation.ts';

const WEIGHTS = 'model.safetensors';

test('a connection that drops in the middle is resumed where it stopped', async () => {
  const hub = await startHub();
  let drops = 0;
  hub.cdn = (request, response, content) => {
    if (drops++ >= 2) return serveRange(request, response, content);
    const start = Number(/(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const range = { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` };
    response.writeHead(start ? 206 : 200, { 'content-length': content.length - start, ...(start ? range : {}) });
    response.write(content.subarray(start, start + 1_000_000), () => setTimeout(() => response.destroy(), 20));
  };
  const pulled = await pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() }));
  expect(readFileSync(path.join(pulled.path, WEIGHTS)).equals(hub.files[WEIGHTS]!)).toBe(true);
  const ranges = hub.seen.filter((request) => request.origin === 'cdn').map((request) => request.range);
  expect(ranges).toHaveLength(3);
  expect(ranges[0]).toBeUndefined();
  const [second, third] = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
  expect(second).toBeGreaterThan(0);
  expect(third).toBeGreaterThan(second!);
});

test('a later pull goes on with the partial file of an earlier one', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache(), timing: { retries: 0 } });
  hub.cdn = (_request, response, content) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 2_000_000), () => setTimeout(() => response.destroy(), 20));
  };
  expect(await failureOf(pullModel('hf:ORG/MODEL', cache))).toMatchObject({ code: 'hub-unreachable' });
  expect(filesBelow(cache.cacheFolder!).filter((name) => name.includes(WEIGHTS))).toEqual([
    expect.stringMatching(/\/model\.safetensors\.partial$/),
  ]);

  hub.cdn = serveRange;
  hub.seen.length = 0;
  const pulled = await pullModel('hf:ORG/MODEL', cache);
  expect(hub.seen.find((request) => request.origin === 'cdn')!.range).toMatch(/^bytes=[1-9]\d*-$/);
  expect(readFileSync(path.join(pulled.path, WEIGHTS)).equals(hub.files[WEIGHTS]!)).toBe(true);
  expect(filesBelow(cache.cacheFolder!).filter((name) => name.includes('partial'))).toEqual([]);
});

test.each([
  ['ignores ranges', noise(1_234_567)],
  ['is asked to go on after wrong bytes', noise(1_000_000, 99)],
  ['is asked for more than there is', noise(4_000_000, 5)],
  ['has nothing left to send', noise(3_000_000)],
])('a partial file and a server that %s: the right bytes in the end', async (what, leftover) => {
  const hub = await startHub();
  const fresh = options(hub, { cacheFolder: emptyCache() });
  hub.cdn = (_request, response) => response.writeHead(403).end();
  await failureOf(pullModel('hf:ORG/MODEL', fresh));
  const config = filesBelow(fresh.cacheFolder!).find((name) => name.endsWith('config.json'))!;
  const final = path.join(fresh.cacheFolder!, path.dirname(config), WEIGHTS);
  writeFileSync(`${final}.partial`, leftover);
  hub.cdn = what === 'ignores ranges' ? (_request, response, content) => response.end(content) : serveRange;
  await pullModel('hf:ORG/MODEL', fresh);
  expect(readFileSync(final).equals(hub.files[WEIGHTS]!)).toBe(true);
  expect(existsSync(`${final}.partial`)).toBe(false);
});

test('an answer with another part of the file than the one asked for is not appended', async () => {
  const hub = await startHub();
  // Without digests nothing but the range itself can tell.
  hub.list = ({ siblings }) => ({ siblings: siblings.map(({ rfilename }) => ({ rfilename })) });
  const cache = options(hub, { cacheFolder: emptyCache(), timing: { retryMs: 5, retries: 1 } });
  const content = hub.files['tokenizer.json']!;
  hub.intercept = (request, response) => {
    if (!request.url!.endsWith('tokenizer.json') || request.headers.range === undefined) return false;
    const headers = { 'content-range': `bytes 0-${content.length - 1001}/${content.length}` };
    return Boolean(response.writeHead(206, headers).end(content.subarray(0, -1000)));
  };
  hub.cdn = (_request, response) => response.writeHead(403).end();
  await failureOf(pullModel('hf:ORG/MODEL', cache));
  const tokenizer = filesBelow(cache.cacheFolder!).find((name) => name.endsWith('tokenizer.json'))!;
  const final = path.join(cache.cacheFolder!, tokenizer);
  rmSync(final);
  writeFileSync(`${final}.partial`, content.subarray(0, 1000));
  hub.cdn = serveRange;
  await pullModel('hf:ORG/MODEL', cache);
  expect(readFileSync(final).equals(content)).toBe(true);
});

test.each(['model.safetensors', 'tokenizer.json'])('wrong bytes of %s are refused and not kept', async (name) => {
  const hub = await startHub();
  const wrong = Buffer.from(hub.files[name]!);
  wrong[wrong.length - 1]! ^= 0x80;
  hub.cdn = (request, response, content) => serveRange(request, response, name === WEIGHTS ? wrong : content);
  hub.intercept = (request, response) => {
    if (name === WEIGHTS || !request.url!.endsWith(name)) return false;
    serveRange(request, response, wrong);
    return true;
  };
  const cache = options(hub, { cacheFolder: emptyCache() });
  const error = await failureOf(pullModel('hf:ORG/MODEL', cache));
  expect(error).toMatchObject({ code: 'hub-checksum-mismatch', where: { file: name } });
  expect(error.message).toMatch(/expected (sha256|git blob) [0-9a-f]{40,64}, found [0-9a-f]{40,64}/);
  expect(filesBelow(cache.cacheFolder!).filter((file) => file.includes(name))).toEqual([]);
});

test('a file that is longer than announced is refused', async () => {
  const hub = await startHub();
  hub.cdn = (_request, response, content) => response.end(Buffer.concat([content, Buffer.from('more')]));
  const error = await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() })));
  expect(error).toMatchObject({ code: 'hub-checksum-mismatch', message: expect.stringContaining('found more') });
});

test.each([
  [404, { 'x-error-code': 'RepoNotFound' }, 'hub-not-found'],
  [404, { 'x-error-code': 'RevisionNotFound' }, 'hub-not-found'],
  [401, {}, 'hub-unauthorized'],
  [401, { 'x-error-code': 'GatedRepo', 'x-error-message': 'Access to model ORG/MODEL is restricted' }, 'hub-gated'],
  [403, {}, 'hub-gated'],
  [400, {}, 'hub-http-error'],
])('status %i %o is %s, at once', async (status, headers, code) => {
  const hub = await startHub();
  hub.intercept = (_request, response) => Boolean(response.writeHead(status, headers).end());
  const error = await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() })));
  expect(error).toMatchObject({ code, where: { status } });
  if (code === 'hub-gated' || code === 'hub-unauthorized') expect(error.hint).toContain('HF_TOKEN');
  expect(hub.seen).toHaveLength(1);
});

test.each([[429], [500], [503]])('status %i is retried, for the listing and for files', async (status) => {
  const hub = await startHub();
  let requests = 0;
  hub.intercept = (_request, response) =>
    requests++ % 3 !== 2 && Boolean(response.writeHead(status, { 'retry-after': '0' }).end());
  expect(await pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() }))).toMatchObject({ cached: false });
  expect(requests).toBe(12);
});

test('Retry-After is obeyed', async () => {
  const hub = await startHub();
  let first = true;
  hub.intercept = (_request, response) => {
    if (!first) return false;
    first = false;
    return Boolean(response.writeHead(429, { 'retry-after': '1' }).end());
  };
  const start = performance.now();
  await pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() }));
  expect(performance.now() - start).toBeGreaterThan(990);
});

test('a hub that stays busy is given up', async () => {
  const hub = await startHub();
  hub.intercept = (_request, response) => Boolean(response.writeHead(503).end());
  const error = await failureOf(
    pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache(), timing: { retryMs: 1, retries: 2 } })),
  );
  expect(error).toMatchObject({ code: 'hub-unavailable' });
  expect(hub.seen).toHaveLength(3);
});

test.each(['../evil', '/etc/evil', 'a/../../evil', 'a\\..\\evil', 'C:evil', 'a//b', './config.json', 'nul\u0000'])(
  'a repository that lists the file name %j is refused',
  async (name) => {
    const hub = await startHub();
    hub.list = (listing) => listing.siblings.push({ rfilename: name, size: 1 }) && listing;
    const cache = options(hub, { cacheFolder: emptyCache() });
    expect(await failureOf(pullModel('hf:ORG/MODEL', cache))).toMatchObject({ code: 'hub-unsafe-file-name' });
    expect(filesBelow(cache.cacheFolder!)).toEqual([]);
  },
);

test.each([
  [{ a: '../../../evil.safetensors' }, 'hub-unsafe-file-name'],
  [{ a: 'absent.safetensors' }, 'hub-bad-index'],
  [{ a: 5 }, 'hub-bad-index'],
  [null, 'hub-bad-index'],
])('an index with the weight map %o is refused', async (map, code) => {
  const index = Buffer.from(JSON.stringify({ weight_map: map }));
  const hub = await startHub({ 'config.json': Buffer.from('{}'), 'model.safetensors.index.json': index });
  expect(await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() })))).toMatchObject({
    code,
  });
});

test('what is asked for is checked as well', async () => {
  const hub = await startHub();
  const cache = options(hub, { cacheFolder: emptyCache() });
  for (const reference of [
    'hf:../..',
    'hf:ORG',
    'hf:ORG/MODEL/x',
    'hf:ORG/MODEL@../x',
    'hf:ORG/..',
    'hf:/MODEL',
    'hf:O/M@',
  ]) {
    expect(await failureOf(pullModel(reference, cache)), reference).toMatchObject({ code: 'model-reference-invalid' });
  }
  const unknown = await failureOf(pullModel('smollm3', cache));
  expect(unknown).toMatchObject({
    code: 'model-reference-unknown',
    hint: expect.stringContaining('smollm2-135m-instruct'),
  });
  expect(await failureOf(pullModel('constructor', cache))).toMatchObject({ code: 'model-reference-unknown' });
  expect(hub.seen).toHaveLength(0);
  expect(await failureOf(pullModel('hf:ORG/MODEL', { ...cache, gguf: '../x.gguf' }))).toMatchObject({
    code: 'hub-unsafe-file-name',
  });
  expect(await failureOf(pullModel('hf:ORG/MODEL', { ...cache, endpoint: 'ftp://x' }))).toMatchObject({
    code: 'hub-bad-endpoint',
  });
});

test.each([
  ['no config.json', { 'model.safetensors': noise(10) }, 'hub-file-missing'],
  ['only other weights', { 'config.json': noise(10), 'pytorch_model.bin': noise(10) }, 'hub-no-safetensors'],
])('a repository with %s is refused', async (_what, files, code) => {
  const hub = await startHub(files);
  expect(await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() })))).toMatchObject({
    code,
  });
});

test.each(['<html>Please sign in</html>', '[]', 'null', '{"siblings": [{}]}'])(
  'the listing %j is refused',
  async (body) => {
    const hub = await startHub();
    hub.intercept = (_request, response) => Boolean(response.end(body));
    expect(await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() })))).toMatchObject({
      code: 'hub-bad-listing',
    });
  },
);

test.each(['file:///etc/passwd', 'http://[', ''])('a redirect to %j is refused', async (location) => {
  const hub = await startHub();
  hub.intercept = (request, response) => {
    if (location === '') return Boolean(response.writeHead(302, { location: request.url! }).end());
    return Boolean(response.writeHead(302, { location }).end());
  };
  expect(await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache() })))).toMatchObject({
    code: 'hub-bad-redirect',
  });
});

test('a slow download stops at once on request and goes on later', async () => {
  const hub = await startHub();
  const controller = new AbortController();
  hub.cdn = (_request, response, content) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 500_000));
  };
  const cache = options(hub, { cacheFolder: emptyCache() });
  const onProgress = (event: PullProgress) => {
    if (event.phase === 'download' && event.file === WEIGHTS && event.receivedBytes >= 500_000)
      setTimeout(() => controller.abort(), 10);
  };
  const start = performance.now();
  const error = await failureOf(pullModel('hf:ORG/MODEL', { ...cache, signal: controller.signal, onProgress }));
  expect(error).toMatchObject({ code: 'aborted' });
  expect(performance.now() - start).toBeLessThan(2000);

  hub.cdn = serveRange;
  hub.seen.length = 0;
  await pullModel('hf:ORG/MODEL', cache);
  expect(hub.seen.find((request) => request.origin === 'cdn')!.range).toBe('bytes=500000-');
});

test('a signal that has fired before stops everything', async () => {
  const hub = await startHub();
  const aborted = pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache(), signal: AbortSignal.abort() }));
  expect(await failureOf(aborted)).toMatchObject({ code: 'aborted' });
});

test('a download that stands still counts as a lost connection', async () => {
  const hub = await startHub();
  let stalls = 0;
  hub.cdn = (request, response, content) => {
    if (stalls++ > 0) return serveRange(request, response, content);
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 500_000));
  };
  await pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: emptyCache(), timing: { retryMs: 1, stallMs: 150 } }));
  expect(hub.seen.filter((request) => request.origin === 'cdn').map((r) => r.range)).toEqual([
    undefined,
    'bytes=500000-',
  ]);
});

test('a hub that does not answer is out of reach after about five seconds', async () => {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as { port: number };
  const start = performance.now();
  const error = await failureOf(
    pullModel('hf:ORG/MODEL', { endpoint: `http://127.0.0.1:${port}`, cacheFolder: emptyCache() }),
  );
  expect(error).toMatchObject({ code: 'hub-unreachable', hint: expect.stringContaining('HF_ENDPOINT') });
  expect(performance.now() - start).toBeGreaterThan(4500);
  expect(performance.now() - start).toBeLessThan(6500);
});

test('a cache folder that cannot be made is named', async () => {
  const hub = await startHub();
  const file = path.join(emptyCache(), 'file');
  writeFileSync(file, '');
  const error = await failureOf(pullModel('hf:ORG/MODEL', options(hub, { cacheFolder: path.join(file, 'cache') })));
  expect(error).toMatchObject({ code: 'cache-not-writable', hint: expect.stringContaining('QUAVER_CACHE') });
});
