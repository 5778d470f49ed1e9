/**
 * @file A hub on 127.0.0.1: the listing with large-file digests and git blob ids, `/resolve/` with redirects of large files
 * to a second origin (the "CDN") that serves ranges, and hooks to misbehave.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { QuaverError } from '@quaver/numerics';
import { onTestFinished } from 'vitest';
import type { PullOptions } from '../src/hub/index.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

interface SeenRequest {
  readonly origin: 'hub' | 'cdn';
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface HubImitation {
  readonly endpoint: string;
  readonly seen: SeenRequest[];
  commit: string;
  files: Record<string, Buffer>;
  /** Serves files of the "CDN"; replaced by tests that want drops, stalls or wrong bytes. */
  cdn: (request: IncomingMessage, response: ServerResponse, content: Buffer) => unknown;
  /** Answers instead of the hub where it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Changes what the listing says. */
  list: (listing: { sha?: string; siblings: Record<string, unknown>[] }) => unknown;
  close(): Promise<void>;
}

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

export const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex');

const gitBlob = (content: Buffer) =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');

const isLarge = (name: string) => /\.(safetensors|gguf|bin)$/.test(name);

/** Deterministic bytes that no compression or repetition can stand in for. */
export function noise(bytes: number, seed = 1): Buffer {
  const result = Buffer.alloc(bytes);
  let state = seed;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    result[i] = state >>> 24;
  }
  return result;
}

export const checkpointFiles = (): Record<string, Buffer> => ({
  'config.json': Buffer.from('{"model_type": "llama"}\n'),
  'tokenizer.json': noise(5000, 7),
  'model.safetensors': noise(3_000_000),
  'pytorch_model.bin': noise(1000, 3),
  'README.md': Buffer.from('not wanted\n'),
});

/** Honest range serving. */
export function serveRange(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (start >= content.length && start > 0) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    return;
  }
  const headers = { 'content-length': content.length - start };
  if (request.headers.range === undefined) response.writeHead(200, headers);
  else {
    const range = `bytes ${start}-${content.length - 1}/${content.length}`;
    response.writeHead(206, { ...headers, 'content-range': range });
  }
  response.end(content.subarray(start));
}

async function listen(handler: Handler): Promise<{ server: Server; origin: string }> {
  const server = createServer((request, response) => void handler(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Starts the imitation with one repository, ORG/MODEL; it closes when the test ends. */
export async function startHub(files: Record<string, Buffer> = checkpointFiles()): Promise<HubImitation> {
  const seen: SeenRequest[] = [];
  const note = (origin: SeenRequest['origin'], request: IncomingMessage) => {
    const { range, authorization } = request.headers;
    seen.push({ origin, path: request.url!, range, authorization });
  };
  const cdn = await listen((request, response) => {
    note('cdn', request);
    hub.cdn(request, response, hub.files[decodeURIComponent(request.url!.slice(1))]!);
  });
  const main = await listen((request, response) => {
    note('hub', request);
    if (hub.intercept(request, response)) return;
    const [, name] = /^\/ORG\/MODEL\/resolve\/[^/]+\/(.+)$/.exec(request.url!) ?? [];
    if (request.url!.startsWith('/api/models/ORG/MODEL/revision/')) sendListing(hub, response);
    else if (name === undefined || hub.files[decodeURIComponent(name)] === undefined) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end('Entry not found');
    } else if (isLarge(name)) redirectToCdn(hub.files[decodeURIComponent(name)]!, `${cdn.origin}/${name}`, response);
    else serveRange(request, response, hub.files[decodeURIComponent(name)]!);
  });
  const servers = [main.server, cdn.server];
  const hub: HubImitation = {
    endpoint: main.origin,
    seen,
    commit: COMMIT,
    files,
    cdn: serveRange,
    intercept: () => false,
    list: (listing) => listing,
    async close() {
      for (const server of servers) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
  onTestFinished(() => hub.close());
  return hub;
}

function redirectToCdn(content: Buffer, location: string, response: ServerResponse): void {
  const headers = { 'x-linked-etag': `"${sha256(content)}"`, 'x-linked-size': content.length };
  response.writeHead(302, { ...headers, location }).end('Found');
}

function sendListing(hub: HubImitation, response: ServerResponse): void {
  const siblings = Object.entries(hub.files).map(([rfilename, content]) => ({
    rfilename,
    size: content.length,
    blobId: gitBlob(content),
    ...(isLarge(rfilename) ? { lfs: { sha256: sha256(content), size: content.length, pointerSize: 134 } } : {}),
  }));
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(hub.list({ sha: hub.commit, siblings })));
}

/** An empty cache folder that is removed when the test ends. */
export function emptyCache(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'quaver-hub-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Options that keep the environment of the test run out and the pauses short. */
export const options = (hub: Pick<HubImitation, 'endpoint'>, more: PullOptions = {}): PullOptions => ({
  endpoint: hub.endpoint,
  env: { PATH: '' },
  timing: { retryMs: 5 },
  ...more,
});

/** All files below a folder, relative, sorted. */
export const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'))
    .sort();

/** The error that a promise ends with; fails the test when there is none. */
export async function failureOf(promise: Promise<unknown>): Promise<QuaverError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: QuaverError) => ({ error }),
  );
  if ('error' in outcome) return outcome.error;
  throw new Error(`expected a failure, got ${JSON.stringify(outcome.value)}`);
}
