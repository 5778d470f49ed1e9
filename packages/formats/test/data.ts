import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { ByteSource } from '../src/byte-source.ts';
import { bytesSource } from '../src/byte-source.ts';

const at = (name: string) => new URL(`data/${name}`, import.meta.url);

/** A file of test/data, unpacked where its name ends in .gz. */
export function dataBytes(name: string): Uint8Array<ArrayBuffer> {
  const bytes = readFileSync(at(name));
  return new Uint8Array(name.endsWith('.gz') ? gunzipSync(bytes) : bytes);
}

export function dataSource(name: string): ByteSource {
  return bytesSource(name, dataBytes(name));
}

export function dataJson<T>(name: string): T {
  return JSON.parse(readFileSync(at(name), 'utf8')) as T;
}

export function dataPath(name: string): string {
  return at(name).pathname;
}
