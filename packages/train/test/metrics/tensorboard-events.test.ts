import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { crc32c, maskedCrc32c } from '../../src/metrics/crc32c.ts';
import { fileVersionRecord, scalarsRecord, sessionStartRecord } from '../../src/metrics/tensorboard-events.ts';
import { lockRunFolder, openRunWriter } from '../../src/node.ts';
import { quantizationRecord, stepRecord } from './step-records.ts';

interface Golden {
  /** What tensorboard's own protobuf classes and record writer make, in base64. */
  readonly records: readonly { readonly name: string; readonly bytes: string }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL('../data/tensorboard.json', import.meta.url), 'utf8'));

test('CRC-32C of the vectors in RFC 3720, B.4', () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
});

test('records have the bytes that tensorboard writes', () => {
  const time = 1_700_000_000.25;
  const ours: Record<string, Uint8Array> = {
    version: fileVersionRecord(time),
    start: sessionStartRecord(time, 501),
    scalars: scalarsRecord(time, 3, [
      ['loss', 2.345678],
      ['seconds/data', 1e-3],
      ['grad_norm', Number.POSITIVE_INFINITY],
      ['größe', 3e300],
    ]),
    far: scalarsRecord(time, 2 ** 40, [['loss', -0.5]]),
  };
  expect(golden.records.map(({ name }) => name)).toEqual(Object.keys(ours));
  for (const { name, bytes } of golden.records) {
    expect([name, Buffer.from(ours[name]!).toString('base64')]).toEqual([name, bytes]);
  }
});

test('a run’s event file is a chain of sound frames, the version first, one for every record', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'quaver-events-'));
  const lock = await lockRunFolder(folder);
  const writer = await openRunWriter(lock, { resumeAt: 1 });
  for (const step of [2, 3]) await writer.step(stepRecord(step));
  await writer.quantization([quantizationRecord(3, 'w')]);
  await writer.close();
  const name = (await readdir(folder)).find((name) => name.startsWith('events.out.tfevents.'));
  const file = await readFile(path.join(folder, name!));
  const records: string[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(file.readUInt32LE(at + 8)).toBe(maskedCrc32c(file.subarray(at, at + 8)));
    expect(file.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(data));
    records.push(data.toString('latin1'));
    at += 16 + length;
  }
  expect(records).toHaveLength(5);
  expect(records[0]).toContain('brain.Event:2');
  expect(records[3]).toContain('seconds/forward_backward');
  expect(records[4]).toContain('underflow/w');
  await lock.release();
  await rm(folder, { recursive: true });
});
