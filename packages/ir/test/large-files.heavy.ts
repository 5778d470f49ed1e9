/** A module of more than 4 GiB with tensors of more than 2 GiB, written and read whole. Needs 5 GB of disk and 3 GB of memory. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Parameter, RangedTensorData } from '@quaver/ir';
import { readModuleFile, writeModuleFile } from '@quaver/ir/node';
import { expect, test } from 'vitest';
import { moduleOf } from './support/sample-modules.ts';

const byteLength = 2 ** 31 + 64;

/** Byte i is i mod 251, from `start`. */
function ramp(start: number): RangedTensorData {
  const period = Uint8Array.from({ length: 251 * 4096 }, (_, i) => (start + i) % 251);
  const readRange = (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const from = (offset + done) % 251;
      const part = period.subarray(from, Math.min(from + length - done, period.byteLength));
      bytes.set(part, done);
      done += part.byteLength;
    }
    return Promise.resolve(bytes);
  };
  return { byteLength, readRange, read: () => readRange(0, byteLength) };
}

test('tensors over 2 GiB in a file over 4 GiB', { timeout: 900_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'quaver-ir-large-'));
  try {
    const path = join(folder, 'large.qvr');
    const parameters = [0, 7].map(
      (start): Parameter => ({
        ...{ name: `w${start}`, type: { dtype: 'u8', shape: [byteLength] }, data: ramp(start), trainable: true },
      }),
    );
    await writeModuleFile(moduleOf([], { parameters }), path);
    expect((await stat(path)).size).toBeGreaterThan(2 ** 32);
    await using file = await readModuleFile(path);
    expect(await file.verifyData()).toEqual({ checked: 2, unchecked: 0, bytes: 2 * byteLength });
    const bytes = await file.parameters[1]!.data!.read();
    expect(bytes.byteLength).toBe(byteLength);
    for (const i of [0, 1, 2 ** 31 - 1, 2 ** 31, byteLength - 1]) expect(bytes[i]).toBe((7 + i) % 251);
  } finally {
    await rm(folder, { recursive: true });
  }
});
