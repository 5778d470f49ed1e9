import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { beforeAll, expect, test } from 'vitest';
import type { PullResult } from '../src/hub/index.ts';
import { emptyCache, filesBelow, serveRange, startHub } from './hub-imitation.ts';

let bundle: string;

/** One JavaScript file of the hub code, so that any supported Node runs it in a process of its own. */
beforeAll(async () => {
  const result = await build({
    logLevel: 'error',
    configFile: false,
    ssr: { noExternal: true },
    resolve: { conditions: ['@quaver/source'] },
    build: {
      ssr: fileURLToPath(new URL('../src/hub/index.ts', import.meta.url)),
      write: false,
      minify: false,
    },
  });
  const [output] = Array.isArray(result) ? result : [result];
  if (output === undefined || !('output' in output)) throw new Error('vite gave no bundle');
  bundle = output.output[0].code;
});

function pullInProcess(cache: string, endpoint: string): { child: ChildProcess; result: Promise<PullResult> } {
  const file = path.join(cache, 'pull.mjs');
  writeFileSync(file, `${bundle}\npullModel('hf:ORG/MODEL').then((pulled) => console.log(JSON.stringify(pulled)));\n`);
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, QUAVER_CACHE: path.join(cache, 'models'), HF_ENDPOINT: endpoint },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (text) => (output += text));
  child.stderr.on('data', (text) => (errors += text));
  const result = new Promise<PullResult>((resolve, reject) => {
    child.on('close', (status) =>
      status === 0 ? resolve(JSON.parse(output)) : reject(new Error(`${status}: ${errors}`)),
    );
  });
  return { child, result };
}

test('two processes that pull at once both get the right bytes and leave nothing else', async () => {
  const hub = await startHub();
  let waiting: (() => void)[] = [];
  // Both are in the middle of the large file at the same time.
  hub.cdn = (request, response, content) => {
    const start = Number(/(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (start > 0) return serveRange(request, response, content);
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 1_500_000));
    waiting.push(() => response.end(content.subarray(1_500_000)));
    if (waiting.length < 2) return;
    for (const finish of waiting) finish();
    waiting = [];
  };
  const cache = emptyCache();
  const results = await Promise.all([0, 1].map(() => pullInProcess(cache, hub.endpoint).result));
  expect(results[0]).toEqual(results[1]);
  expect(readFileSync(path.join(results[0]!.path, 'model.safetensors')).equals(hub.files['model.safetensors']!)).toBe(
    true,
  );
  expect(filesBelow(path.join(cache, 'models')).map((name) => path.posix.basename(name))).toEqual([
    `${hub.commit}.checkpoint.json`,
    'main',
    'config.json',
    'model.safetensors',
    'tokenizer.json',
  ]);
  expect(await pullInProcess(cache, hub.endpoint).result).toEqual({ ...results[0], cached: true });
});

test('what a killed process has downloaded is used by the next', async () => {
  const hub = await startHub();
  const cache = emptyCache();
  let victim: ChildProcess | undefined;
  hub.cdn = (_request, response, content) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 2_000_000), () => setTimeout(() => victim!.kill('SIGKILL'), 100));
  };
  const first = pullInProcess(cache, hub.endpoint);
  victim = first.child;
  await expect(first.result).rejects.toThrow('null');

  hub.cdn = serveRange;
  hub.seen.length = 0;
  const pulled = await pullInProcess(cache, hub.endpoint).result;
  expect(hub.seen.find((request) => request.origin === 'cdn')!.range).toMatch(/^bytes=[1-9]\d+-$/);
  expect(readFileSync(path.join(pulled.path, 'model.safetensors')).equals(hub.files['model.safetensors']!)).toBe(true);
  expect(filesBelow(cache).filter((name) => name.includes('partial'))).toEqual([]);
});
