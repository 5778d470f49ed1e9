import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/byte-source.ts';
import { readGgufHeader } from '../../src/gguf/header.ts';
import { openGguf } from '../../src/gguf/open.ts';
import { openSafetensors } from '../../src/safetensors/open.ts';
import { tensorDTypeBytes } from '../../src/tensor-dtype.ts';
import { dataBytes, dataJson, dataSource } from '../data.ts';
import { type GgufParts, ggufFile } from './gguf-file.ts';

describe('files of the gguf package', () => {
  test('every tensor reads as the bits that the gguf package gives', async () => {
    const { tensors } = await openGguf(dataSource('types.gguf'));
    const expected = await openSafetensors(dataSource('types.expected.safetensors'));
    expect([...tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
    const storages = new Set([...tensors.values()].map(({ storage }) => storage));
    expect([...storages].sort().join(' ')).toBe(
      'BF16 F16 F32 F64 I16 I32 I64 I8 Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_0',
    );
    for (const [name, tensor] of tensors) {
      const { dtype, shape, read } = expected.tensors.get(name)!;
      expect([name, tensor.dtype, tensor.shape]).toEqual([name, dtype === 'u16' ? 'bf16' : dtype, shape]);
      expect([name, Buffer.from(await tensor.read()).equals(Buffer.from(await read()))]).toEqual([name, true]);
    }
  });

  test('metadata of every type', async () => {
    const { metadata } = await openGguf(dataSource('types.gguf'));
    for (const [key, value] of Object.entries(dataJson<Record<string, unknown>>('types.metadata.json'))) {
      const found = metadata.get(key);
      const plain = ArrayBuffer.isView(found) ? [...(found as unknown as Iterable<unknown>)] : found;
      const text = (item: unknown) => (typeof item === 'bigint' ? String(item) : item);
      expect([key, Array.isArray(plain) ? plain.map(text) : text(plain)]).toEqual([key, value]);
    }
    expect(metadata.get('general.alignment')).toBe(64);
    expect(metadata.get('test.u64.small')).toBe(9007199254740991);
  });

  test('a pooled Buffer at an odd offset gives the same values and aligned bytes', async () => {
    const original = dataBytes('types.gguf');
    const pooled = Buffer.alloc(original.length + 3, 0xee).subarray(3);
    pooled.set(original);
    const [odd, even] = [await openGguf(bytesSource('f', pooled)), await openGguf(bytesSource('f', original))];
    expect([...odd.metadata]).toEqual([...even.metadata]);
    for (const [name, tensor] of odd.tensors) {
      const bytes = await tensor.read();
      expect([name, bytes.byteOffset % tensorDTypeBytes[tensor.dtype]]).toEqual([name, 0]);
      expect(Buffer.from(bytes).equals(Buffer.from(await even.tensors.get(name)!.read()))).toBe(true);
    }
  });

  test('version 2 has the same layout', async () => {
    const bytes = dataBytes('types.gguf');
    bytes[4] = 2;
    expect((await readGgufHeader(bytesSource('f', bytes))).tensors.length).toBe(18);
  });

  test('an unsupported type names the tensor and the type', async () => {
    await expect(openGguf(dataSource('unsupported.gguf'))).rejects.toMatchObject({
      code: 'gguf-unsupported-type',
      message: 'unsupported.gguf: tensor "blk.0.ffn_up.weight" has the unsupported type TQ2_0',
      hint: expect.stringContaining('Q8_0'),
    });
  });

  test('a vocabulary of 10⁵ strings is read in well under a second', async () => {
    const source = dataSource('smollm2-vocabulary.gguf.gz');
    const start = performance.now();
    const { metadata } = await readGgufHeader(source);
    expect(performance.now() - start).toBeLessThan(1000);
    expect((metadata.get('tokenizer.ggml.tokens') as readonly string[]).length).toBe(49152);
    expect((metadata.get('tokenizer.ggml.merges') as readonly string[])[48899]).toContain(' ');
  });

  test('a header beyond the first window is read on', async () => {
    const large = 'x'.repeat(9 << 20);
    const file = ggufFile({
      pairs: [{ key: 'a', type: 8, value: large }],
      tensors: [{ name: 't', shape: [1n], type: 24, offset: 0n }],
    });
    const { metadata, tensors } = await readGgufHeader(bytesSource('f', file));
    expect(metadata.get('a')).toBe(large);
    expect(tensors[0]).toMatchObject({ name: 't', shape: [1], bytes: 1 });
  });
});

describe('damaged files', () => {
  const scalar = { name: 't', shape: [1n], type: 24, offset: 0n };
  const cases: readonly (readonly [string, GgufParts, string, string])[] = [
    ['version 1', { version: 1 }, 'gguf-version', 'version 1'],
    ['big-endian', { version: 0x0300_0000 }, 'gguf-version', 'big-endian'],
    ['too many tensors', { tensorCount: 1n << 60n }, 'gguf-truncated', 'the tensor count is 1152921504606846976'],
    ['too many pairs', { pairCount: 1n << 62n }, 'gguf-truncated', 'the metadata count'],
    [
      'a key twice',
      {
        pairs: [
          { key: 'a', type: 0, value: 1 },
          { key: 'a', type: 0, value: 1 },
        ],
      },
      'gguf-bad-metadata',
      '"a" occurs twice',
    ],
    [
      'an unknown value type',
      { pairs: [{ key: 'a', type: 13, value: 1 }] },
      'gguf-bad-metadata',
      'unknown value type 13',
    ],
    ['a bool of 2', { pairs: [{ key: 'a', type: 7, value: 2 }] }, 'gguf-bad-metadata', 'holds 2'],
    ['an alignment of 24', { pairs: [{ key: 'general.alignment', type: 0, value: 24 }] }, 'gguf-bad-metadata', 'is 24'],
    ['an alignment of 0', { pairs: [{ key: 'general.alignment', type: 0, value: 0 }] }, 'gguf-bad-metadata', 'is 0'],
    ['an unknown tensor type', { tensors: [{ ...scalar, type: 99 }] }, 'gguf-unsupported-type', 'number 99'],
    ['a tensor twice', { tensors: [scalar, { ...scalar, offset: 32n }] }, 'gguf-bad-tensor', '"t" occurs twice'],
    ['overlapping tensors', { tensors: [scalar, { ...scalar, name: 'u' }] }, 'gguf-bad-tensor', 'overlap'],
    [
      'a tensor inside another',
      {
        tensors: [
          { ...scalar, shape: [64n] },
          { ...scalar, name: 'u', offset: 32n },
        ],
      },
      'gguf-bad-tensor',
      '"t" and "u" overlap',
    ],
    ['a misaligned tensor', { tensors: [{ ...scalar, offset: 8n }] }, 'gguf-bad-tensor', 'not a multiple of 32'],
    ['an offset outside the file', { tensors: [{ ...scalar, offset: 1n << 63n }] }, 'gguf-truncated', '"t"'],
    [
      'a shape outside the file',
      { tensors: [{ ...scalar, shape: [1n << 40n] }] },
      'gguf-truncated',
      'takes 1099511627776 bytes',
    ],
    [
      'a shape beyond 2^53',
      { tensors: [{ ...scalar, shape: [1n << 40n, 1n << 40n] }] },
      'gguf-bad-tensor',
      'impossible shape',
    ],
    ['half a block', { tensors: [{ ...scalar, type: 8, shape: [16n] }] }, 'gguf-bad-tensor', 'multiples of 32'],
    ['nine dimensions', { tensors: [{ ...scalar, shape: Array(9).fill(1n) }] }, 'gguf-bad-tensor', '9 dimensions'],
  ];
  test.each(cases)('%s', async (_, parts, code, mention) => {
    const opening = openGguf(bytesSource('model.gguf', ggufFile(parts)));
    const message = expect.stringMatching(new RegExp(`^model\\.gguf: .*${mention.replace(/[[\]()]/g, '\\$&')}`));
    await expect(opening).rejects.toMatchObject({ name: 'QuaverError', code, message, where: { file: 'model.gguf' } });
  });

  test('forged array and string lengths cost nothing', async () => {
    for (const itemType of [0, 7, 8, 9, 10]) {
      const file = ggufFile({ pairs: [{ key: 'a', type: 9, value: { itemType, count: (1n << 61n) + 1n } }] });
      await expect(openGguf(bytesSource('f', file))).rejects.toMatchObject({ code: 'gguf-truncated' });
    }
    const text = ggufFile({ pairs: [{ key: 'a', type: 8, value: 'b' }] });
    new DataView(text.buffer).setBigUint64(24 + 8 + 1 + 4, 1n << 63n, true);
    await expect(openGguf(bytesSource('f', text))).rejects.toMatchObject({ code: 'gguf-truncated' });
  });

  test('invalid UTF-8 in a key', async () => {
    const file = ggufFile({ pairs: [{ key: 'a', type: 0, value: 1 }] });
    file[24 + 8] = 0xff;
    await expect(openGguf(bytesSource('f', file))).rejects.toMatchObject({
      code: 'gguf-bad-utf8',
      where: { byte: 32 },
    });
  });

  test('arrays nested without end', async () => {
    const file = new Uint8Array(1 << 16);
    file.set(ggufFile({ pairs: [{ key: 'a', type: 9, value: { itemType: 9, count: 1n } }], padding: 0 }));
    const view = new DataView(file.buffer);
    for (let at = 24 + 8 + 1 + 4; at + 12 < file.length; at += 12) {
      view.setUint32(at, 9, true);
      view.setBigUint64(at + 4, 1n, true);
    }
    await expect(openGguf(bytesSource('f', file))).rejects.toMatchObject({
      message: expect.stringContaining('too deeply'),
    });
  });
});
