import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/byte-source.ts';
import type { TensorToWrite } from '../../src/checkpoint.ts';
import { compareCodePoints } from '../../src/safetensors/dtypes.ts';
import { encodeSafetensors, layOutSafetensors } from '../../src/safetensors/encode.ts';
import { openSafetensors } from '../../src/safetensors/open.ts';
import { elementCount, type TensorDType, tensorDTypeBytes } from '../../src/tensor-dtype.ts';
import { dataBytes } from '../data.ts';

const dtypes = Object.keys(tensorDTypeBytes) as TensorDType[];

const tensorArbitrary = fc
  .record({
    name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
    seed: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ name, dtype, shape, seed }): TensorToWrite => {
    const bytes = new Uint8Array(elementCount(shape)! * tensorDTypeBytes[dtype]).map((_, i) => seed + i * 7);
    return { name, dtype, shape, read: () => bytes };
  });

describe('writing', () => {
  test('gives the bytes that the safetensors package gives for the same tensors', async () => {
    const golden = dataBytes('all-dtypes.safetensors');
    const { tensors, metadata } = await openSafetensors(bytesSource('f', golden));
    const written = await encodeSafetensors([...tensors.values()].reverse(), metadata as ReadonlyMap<string, string>);
    expect(Buffer.from(written).equals(Buffer.from(golden))).toBe(true);
  });

  test('round trips any tensors; the header is a multiple of 8 and data are aligned', async () => {
    const sets = fc.uniqueArray(tensorArbitrary, { selector: ({ name }) => name, maxLength: 8 });
    const metadata = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(sets, metadata, async (tensors, pairs) => {
        const bytes = await encodeSafetensors(tensors, Object.entries(pairs));
        expect(layOutSafetensors(tensors, Object.entries(pairs)).header.byteLength % 8).toBe(0);
        const read = await openSafetensors(bytesSource('f', bytes));
        expect(read.tensors.size).toBe(tensors.length);
        expect(new Map(read.metadata)).toEqual(new Map(Object.entries(pairs)));
        for (const { name, dtype, shape, read: source } of tensors) {
          const tensor = read.tensors.get(name)!;
          expect([tensor.dtype, tensor.shape]).toEqual([dtype, shape]);
          const found = await tensor.read();
          expect(Buffer.from(found).equals(Buffer.from(await source()))).toBe(true);
          expect(found.byteLength === 0 ? 0 : found.byteOffset % tensorDTypeBytes[dtype]).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('names sort by code point, not by UTF-16 unit', () => {
    const names = ['\u{10000}', '\uffff', 'b', 'a', '', 'ab', '\ud7ff'];
    const byUtf8 = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...names].sort(compareCodePoints)).toEqual(byUtf8);
  });

  test('refuses what cannot be written', async () => {
    const tensor = (name: string, shape: readonly number[], bytes: number): TensorToWrite => {
      return { name, dtype: 'f32', shape, read: () => new Uint8Array(bytes) };
    };
    const rejects = (tensors: TensorToWrite[], code: string) =>
      expect(encodeSafetensors(tensors)).rejects.toMatchObject({ name: 'QuaverError', code });
    await rejects([tensor('a', [1], 4), tensor('a', [1], 4)], 'tensor-duplicate-name');
    await rejects([tensor('__metadata__', [1], 4)], 'tensor-duplicate-name');
    await rejects([tensor('a', [2], 4)], 'tensor-size-mismatch');
    await rejects([tensor('a', [-1], 4)], 'tensor-bad-shape');
    await rejects([tensor('a', [2 ** 40, 2 ** 40], 4)], 'tensor-bad-shape');
  });
});
