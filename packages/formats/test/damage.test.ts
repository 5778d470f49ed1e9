/**
 * @file Truncated and mutated files: a clean error or a valid checkpoint, quickly and without large allocations. Where a
 * mutated file opens, every tensor of it is read, and the tokenizer is built.
 */
import { QuaverError } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { type ByteSource, bytesSource } from '../src/byte-source.ts';
import { tokenizerFromGguf } from '../src/gguf/tokenizer.ts';
import { openCheckpointFile } from '../src/recognise.ts';
import { elementCount, tensorDTypeBytes } from '../src/tensor-dtype.ts';
import { dataBytes } from './data.ts';

/** A small generator of numbers, so that a failing mutation can be made again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Opens and reads everything; true if the file was valid. Anything but a QuaverError is a failure of the test. */
async function tryFile(bytes: Uint8Array, what: string): Promise<boolean> {
  const inner = bytesSource('f', bytes);
  const source: ByteSource = {
    ...inner,
    read(offset, length) {
      if (offset + length > bytes.length) throw new Error(`${what}: read outside the file`);
      return inner.read(offset, length);
    },
  };
  const start = performance.now();
  try {
    const { tensors, metadata, format } = await openCheckpointFile(source);
    for (const tensor of tensors.values()) {
      const read = await tensor.read();
      expect(read.byteLength).toBe(elementCount(tensor.shape)! * tensorDTypeBytes[tensor.dtype]);
      // Dequantized, two bits become four bytes at most.
      expect(read.byteLength).toBeLessThanOrEqual(bytes.length * 16);
    }
    if (format === 'gguf' && metadata.has('tokenizer.ggml.model')) tokenizerFromGguf(metadata);
    return true;
  } catch (error) {
    if (error instanceof QuaverError && /^[a-z0-9]+(-[a-z0-9]+)+$/.test(error.code) && error.message !== '')
      return false;
    throw new Error(`${what}: ${String(error)}`, { cause: error });
  } finally {
    const elapsed = performance.now() - start;
    if (elapsed > 1000) expect.unreachable(`${what}: took ${elapsed} ms`);
  }
}

const kinds = [
  ['every dtype in safetensors', 'all-dtypes.safetensors'],
  ['every type in GGUF', 'types.gguf'],
  ['a GGUF tokenizer', 'spm-560.gguf'],
] as const;

describe.each(kinds)('%s', (_, name) => {
  const original = dataBytes(name);

  test('truncated at every byte', async () => {
    const step = original.length > 10_000 ? 7 : 1;
    for (let length = 0; length < original.length; length += step) {
      const valid = await tryFile(original.slice(0, length), `${name} cut to ${length}`);
      // GGUF pads its end, so a file may lack some of the padding and still be whole.
      if (valid) expect(name.endsWith('.gguf') && length > original.length - 64).toBe(true);
    }
  });

  test('20,000 mutations', async () => {
    const next = random(1);
    const headerBytes = name.endsWith('.gguf') ? Math.min(original.length, 3000) : original.length;
    const interesting = [0, 1, 2, 0x7f, 0x80, 0xff, 0x22, 0x5b, 0x7b, 0x2c];
    const counts = { valid: 0, invalid: 0 };
    for (let i = 0; i < 20_000; i++) {
      const bytes = original.slice();
      for (let change = next(3); change >= 0; change--) {
        const at = next(headerBytes);
        bytes[at] = next(2) === 0 ? next(256) : interesting[next(interesting.length)]!;
      }
      counts[(await tryFile(bytes, `${name} mutation ${i}`)) ? 'valid' : 'invalid']++;
    }
    // Both happen, or the mutations would not exercise what they should.
    expect(Math.min(counts.valid, counts.invalid)).toBeGreaterThan(100);
  });
});

test('cutting pieces out, doubling and moving them', async () => {
  const next = random(2);
  for (const [, name] of kinds) {
    const original = dataBytes(name);
    for (let i = 0; i < 2000; i++) {
      const [a, b] = [next(original.length), next(64)];
      const piece = original.subarray(a, a + b);
      const rest = Buffer.concat([original.subarray(0, a), original.subarray(a + b)]);
      const to = next(Math.min(rest.length, 3000));
      const moved = Buffer.concat([rest.subarray(0, to), piece, next(2) ? piece : Buffer.alloc(0), rest.subarray(to)]);
      await tryFile(new Uint8Array(moved), `${name} move ${i}`);
    }
  }
});
