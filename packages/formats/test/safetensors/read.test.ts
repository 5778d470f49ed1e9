import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/byte-source.ts';
import { openSafetensors } from '../../src/safetensors/open.ts';
import { tensorDTypeBytes } from '../../src/tensor-dtype.ts';
import { dataBytes, dataJson, dataSource } from '../data.ts';

const described =
  dataJson<Readonly<Record<string, { dtype: string; shape: number[]; hex: string }>>>('all-dtypes.json');

/** A file of the given header text and as many data bytes. */
export function safetensorsFile(header: string, dataBytes: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

const entry = (dtype: string, shape: string, offsets: string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

describe('reading', () => {
  test('every dtype, as the safetensors package wrote it', async () => {
    const checkpoint = await openSafetensors(dataSource('all-dtypes.safetensors'));
    expect([...checkpoint.tensors.keys()].sort()).toEqual(Object.keys(described).sort());
    expect(new Set([...checkpoint.tensors.values()].map(({ dtype }) => dtype))).toEqual(
      new Set(Object.keys(tensorDTypeBytes)),
    );
    const names: Record<string, string> = {
      bool: 'bool',
      uint: 'u',
      int: 'i',
      float8_: 'f8',
      float: 'f',
      bfloat: 'bf',
    };
    for (const [name, { dtype, shape, hex }] of Object.entries(described)) {
      const tensor = checkpoint.tensors.get(name)!;
      expect(tensor.dtype).toBe(dtype.replace(/^(bool|uint|int|float8_|float|bfloat)/, (start) => names[start]!));
      expect(tensor.shape).toEqual(shape);
      expect(Buffer.from(await tensor.read()).toString('hex')).toBe(hex);
    }
    expect([...checkpoint.metadata]).toEqual([['format', 'pt']]);
  });

  test('reads by range: the header, then only what is asked for', async () => {
    const bytes = dataBytes('all-dtypes.safetensors');
    const reads: [number, number][] = [];
    const inner = bytesSource('f', bytes);
    const checkpoint = await openSafetensors({
      ...inner,
      read: (offset, length) => {
        reads.push([offset, length]);
        return inner.read(offset, length);
      },
    });
    const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    await checkpoint.tensors.get('t.float32')!.read();
    expect(reads).toEqual([
      [0, 8],
      [8, headerBytes],
      [8 + headerBytes + 148, 24],
    ]);
  });

  test('a file at an odd place in memory gives aligned bytes', async () => {
    const original = dataBytes('all-dtypes.safetensors');
    const shifted = Buffer.alloc(original.length + 5).subarray(5);
    shifted.set(original);
    const { tensors } = await openSafetensors(bytesSource('f', shifted));
    for (const [name, { dtype, read }] of tensors) {
      const bytes = await read();
      expect(bytes.byteOffset % tensorDTypeBytes[dtype]).toBe(0);
      expect(Buffer.from(bytes).toString('hex')).toBe(described[name]!.hex);
    }
  });

  test('an abort stops a read', async () => {
    const checkpoint = await openSafetensors(dataSource('all-dtypes.safetensors'));
    await expect(checkpoint.tensors.get('scalar')!.read(AbortSignal.abort())).rejects.toMatchObject({
      code: 'aborted',
    });
  });

  test('a header may be padded, and a file may hold no tensors', async () => {
    const checkpoint = await openSafetensors(bytesSource('f', safetensorsFile('{}      ', 0)));
    expect(checkpoint.tensors.size).toBe(0);
  });
});

describe('damaged headers', () => {
  const f32 = entry('F32', '[2]', '[0,8]');
  const cases: readonly (readonly [string, string, number, string, string?])[] = [
    ['data missing', `{"a":${f32}}`, 7, 'safetensors-truncated', 'found'],
    ['data left over', `{"a":${f32}}`, 9, 'safetensors-trailing-bytes'],
    ['a gap', `{"a":${entry('F32', '[2]', '[4,12]')}}`, 12, 'safetensors-bad-layout', '"a" starts at byte'],
    ['an overlap', `{"a":${f32},"b":${entry('F32', '[2]', '[4,12]')}}`, 12, 'safetensors-bad-layout', '"b"'],
    [
      'too few bytes for the shape',
      `{"a":${entry('F32', '[3]', '[0,8]')}}`,
      8,
      'safetensors-size-mismatch',
      'F32 [3] needs 12 bytes',
    ],
    [
      'a shape beyond 2^53',
      `{"a":${entry('U8', '[4294967296,4294967296,4294967296]', '[0,0]')}}`,
      0,
      'safetensors-size-mismatch',
    ],
    ['a dtype that does not exist', `{"a":${entry('F5', '[2]', '[0,8]')}}`, 8, 'safetensors-unknown-dtype', '"F5"'],
    ['a negative dimension', `{"a":${entry('F32', '[-2]', '[0,8]')}}`, 8, 'safetensors-bad-entry', '"shape"'],
    ['a fractional dimension', `{"a":${entry('F32', '[2.5]', '[0,8]')}}`, 8, 'safetensors-bad-entry'],
    ['backward offsets', `{"a":${entry('F32', '[2]', '[8,0]')}}`, 8, 'safetensors-bad-entry', '"data_offsets"'],
    ['three offsets', `{"a":${entry('F32', '[2]', '[0,4,8]')}}`, 8, 'safetensors-bad-entry'],
    ['no dtype', `{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8, 'safetensors-bad-entry', '"a"'],
    ['an entry that is no object', '{"a":5}', 0, 'safetensors-bad-entry'],
    ['metadata that is no object', '{"__metadata__":[]}', 0, 'safetensors-bad-entry', '__metadata__'],
    ['metadata of numbers', '{"__metadata__":{"a":1}}', 0, 'safetensors-bad-entry', '"a"'],
    ['a tensor twice', `{"a":${f32},"a":${f32}}`, 8, 'json-duplicate-key', '"a"'],
    ['a tensor twice, once escaped', `{"a":${f32},"\\u0061":${f32}}`, 8, 'json-duplicate-key', '"a"'],
    [
      'a shape twice',
      '{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}',
      1,
      'json-duplicate-key',
      '"shape"',
    ],
    ['broken JSON', '{"a":', 0, 'json-invalid'],
    ['an array', '[]', 0, 'safetensors-not-safetensors'],
    ['a space first', ' {}', 0, 'safetensors-not-safetensors'],
    ['an empty header', '', 0, 'safetensors-not-safetensors'],
  ];
  for (const [name, header, bytes, code, mention = ''] of cases) {
    test(name, async () => {
      const opening = openSafetensors(bytesSource('model.safetensors', safetensorsFile(header, bytes)));
      const message = expect.stringMatching(`^model\\.safetensors: .*${mention.replace(/[[\]]/g, '\\$&')}`);
      await expect(opening).rejects.toMatchObject({
        name: 'QuaverError',
        code,
        message,
        where: { file: 'model.safetensors' },
      });
    });
  }

  test('a key that two objects share is no duplicate, nor is text in a string', async () => {
    const header = `{"__metadata__":{"a":"\\"a\\":{","b":"{\\"b\\":1,\\"b\\":2}\\\\"},"a":${f32},"b":${entry('U8', '[0]', '[8,8]')}}`;
    expect((await openSafetensors(bytesSource('f', safetensorsFile(header, 8)))).tensors.size).toBe(2);
  });

  test('invalid UTF-8', async () => {
    const file = safetensorsFile('{"?":{}}', 0);
    file[10] = 0xff;
    await expect(openSafetensors(bytesSource('f', file))).rejects.toMatchObject({ code: 'json-invalid' });
  });

  test('a header length beyond 100 MB or beyond the file is never allocated', async () => {
    const file = safetensorsFile('{}', 0);
    new DataView(file.buffer).setBigUint64(0, 100_000_001n, true);
    await expect(openSafetensors(bytesSource('f', file))).rejects.toMatchObject({
      code: 'safetensors-header-too-large',
    });
    new DataView(file.buffer).setBigUint64(0, 0xffff_ffff_ffff_ffffn, true);
    await expect(openSafetensors(bytesSource('f', file))).rejects.toMatchObject({
      code: 'safetensors-header-too-large',
    });
    new DataView(file.buffer).setBigUint64(0, 100_000_000n, true);
    await expect(openSafetensors(bytesSource('f', file))).rejects.toMatchObject({ code: 'safetensors-truncated' });
  });
});
