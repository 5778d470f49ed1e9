/** Modules in real files: ranges, large files, interruption, damage, external weights. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DType,
  dtypeBytes,
  encodeModule,
  type Module,
  memoryData,
  type Parameter,
  readModuleBytes,
  type TensorData,
  writeModuleBytes,
} from '@quaver/ir';
import { fileError, readModuleFile, type TensorProgress, writeModuleFile } from '@quaver/ir/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { contents, structure } from './support/contents.ts';
import { moduleOf, noise, parameter, richModule, tinyModule } from './support/sample-modules.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quaver-ir-'));
});
afterEach(() => rm(folder, { recursive: true }));

const at = (name: string) => join(folder, name);

function withTensor(data: TensorData, name = 'w'): Module {
  return moduleOf([], {
    parameters: [{ name, type: { dtype: 'u8', shape: [data.byteLength] }, data, trainable: true }],
  });
}

describe('a file', () => {
  test('is what memory gives, and reads back', async () => {
    await writeModuleFile(richModule(), at('m.qvr'));
    expect(new Uint8Array(await readFile(at('m.qvr')))).toEqual(await writeModuleBytes(richModule()));
    await using file = await readModuleFile(at('m.qvr'));
    const { path, info, verifyData, close, [Symbol.asyncDispose]: _, ...module } = file;
    expect([path, info.formatVersion, typeof verifyData, typeof close]).toEqual([
      at('m.qvr'),
      1,
      'function',
      'function',
    ]);
    expect(structure(module)).toEqual(structure(richModule()));
    expect(await contents(file)).toEqual(await contents(richModule()));
    expect(await readdir(folder)).toEqual(['m.qvr']);
  });

  test('may be replaced by a module that reads from it', async () => {
    await writeModuleFile(richModule(), at('m.qvr'));
    await using file = await readModuleFile(at('m.qvr'));
    await writeModuleFile({ ...file, name: 'renamed' }, at('m.qvr'));
    expect(await contents(file)).toEqual(await contents(richModule()));
    const replaced = readModuleBytes(await readFile(at('m.qvr')));
    expect(replaced.name).toBe('renamed');
    expect(await contents(replaced)).toEqual(await contents(richModule()));
  });

  test('stops being readable when it is closed', async () => {
    await writeModuleFile(tinyModule(), at('m.qvr'));
    const file = await readModuleFile(at('m.qvr'));
    await file.close();
    await expect(file.parameters[0]!.data!.read()).rejects.toThrow();
  });

  test('reports progress in bytes', async () => {
    const steps: TensorProgress[] = [];
    await writeModuleFile(richModule(), at('m.qvr'), { onProgress: (step) => steps.push(step) });
    const totalBytes = 128 * 64 + 4 + 15 * 2 + 13;
    expect(steps.map(({ kind, tensor, bytes }) => [kind, tensor, bytes])).toEqual([
      ['write', 'layers.0.q_proj.weight', 8192],
      ['write', 'layers.0.q_proj.weight_scale', 8196],
      ['write', 'rope/cos "é" 表', 8226],
      ['write', 'tokenizer.json', 8239],
    ]);
    expect(steps.every((step) => step.totalBytes === totalBytes)).toBe(true);
  });
});

describe('sizes beyond 2 and 4 GiB', () => {
  /** A sparse file in the shape of a written one: only the header and the last bytes of each tensor are on the disk. */
  test('are read by range', async () => {
    const large = 2 ** 31 + 64;
    const pending = (byteLength: number): TensorData => ({
      byteLength,
      read: () => Promise.reject(new Error('not here')),
    });
    const tensor = (name: string, bytes: number): Parameter => ({
      ...{ name, type: { dtype: 'u8', shape: [bytes] }, data: pending(bytes), trainable: true },
    });
    const names = ['a', 'b', 'c'];
    const module = moduleOf([], { parameters: [...names.map((name) => tensor(name, large)), tensor('small', 100)] });
    const { header, segments, totalBytes } = encodeModule(module);
    expect(totalBytes).toBeGreaterThan(3 * 2 ** 31);
    const fd = openSync(at('large.qvr'), 'w');
    writeSync(fd, header, 0, header.byteLength, 0);
    for (const { name, offset, byteLength } of segments)
      writeSync(fd, noise(64, name), 0, 64, offset + byteLength - 64);
    closeSync(fd);
    await truncate(at('large.qvr'), totalBytes);

    await using file = await readModuleFile(at('large.qvr'));
    const small = await file.parameters[3]!.data!.read();
    expect(small.subarray(36)).toEqual(noise(64, 'small'));
    const last = await file.info.segments[1]!.data.readRange(2 ** 31 - 36, 100);
    expect(last.subarray(36)).toEqual(noise(64, 'b'));
    expect(file.info.segments[2]!.offset).toBeGreaterThan(2 ** 32);
    const c = await file.info.segments[2]!.data.readRange(large - 100, 100);
    expect(c.subarray(36)).toEqual(noise(64, 'c'));
  });

  test('a file that ends before its tensors is refused when it is opened', async () => {
    await writeModuleFile(richModule(), at('m.qvr'));
    const { size } = await stat(at('m.qvr'));
    await truncate(at('m.qvr'), size - 1);
    await expect(readModuleFile(at('m.qvr'))).rejects.toMatchObject({
      code: 'module-truncated',
      where: { file: at('m.qvr') },
    });
  });

  test('a file that shrinks while it is open is named', async () => {
    await writeModuleFile(tinyModule(), at('m.qvr'));
    await using file = await readModuleFile(at('m.qvr'));
    await truncate(at('m.qvr'), 100);
    await expect(file.parameters[0]!.data!.read()).rejects.toMatchObject({ code: 'file-truncated' });
  });
});

describe('an interrupted write leaves nothing and keeps the old file', () => {
  beforeEach(() => writeFile(at('m.qvr'), 'old'));
  afterEach(async () => {
    expect(await readdir(folder)).toEqual(['m.qvr']);
    expect(await readFile(at('m.qvr'), 'utf8')).toBe('old');
  });

  test('when data cannot be read', async () => {
    const broken = withTensor({ byteLength: 8, read: () => Promise.reject(new Error('gone')) });
    await expect(writeModuleFile(broken, at('m.qvr'))).rejects.toThrow('gone');
  });

  test('when data is too short', async () => {
    const short = withTensor({ byteLength: 8, read: () => Promise.resolve(new Uint8Array(7)) });
    await expect(writeModuleFile(short, at('m.qvr'))).rejects.toMatchObject({ code: 'tensor-byte-length' });
  });

  test('when it is aborted before and during the work', async () => {
    const reason = new Error('Ctrl-C');
    await expect(writeModuleFile(richModule(), at('m.qvr'), { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    const controller = new AbortController();
    const onProgress = () => controller.abort(reason);
    await expect(writeModuleFile(richModule(), at('m.qvr'), { signal: controller.signal, onProgress })).rejects.toBe(
      reason,
    );
  });

  test('when the disk is full', async () => {
    const full = openSync('/dev/full', 'w');
    const write = () => writeSync(full, new Uint8Array(1));
    const data = {
      byteLength: 8,
      read: () =>
        Promise.resolve()
          .then(write)
          .then(() => new Uint8Array(8)),
    };
    await expect(writeModuleFile(withTensor(data), at('m.qvr'))).rejects.toMatchObject({
      code: 'disk-full',
      message: `${at('m.qvr')}: the disk is full`,
      hint: expect.stringContaining('Free some space'),
    });
    closeSync(full);
  });
});

describe('paths', () => {
  test.each<[string, () => Promise<unknown>, string]>([
    ['a missing file', () => readModuleFile(at('none.qvr')), 'file-not-found'],
    ['a folder', () => readModuleFile(folder), 'file-is-directory'],
    ['a missing folder', () => writeModuleFile(tinyModule(), at('none/m.qvr')), 'file-not-found'],
    ['a device', () => readModuleFile('/dev/null'), 'file-not-a-file'],
  ])('%s', async (_, run, code) => {
    await expect(run()).rejects.toMatchObject({ code, hint: expect.any(String) });
  });

  test('other errors pass through', () => {
    const error = new TypeError('x');
    expect(fileError(error, 'p')).toBe(error);
  });

  test.each<[string, Uint8Array]>([
    ['an empty file', new Uint8Array(0)],
    ['text', new TextEncoder().encode('this is not a module at all, is it?')],
    ['a safetensors file', Buffer.from('100000000000000000000000000000007b7d', 'hex')],
  ])('%s is no module', async (_, bytes) => {
    await writeFile(at('x'), bytes);
    await expect(readModuleFile(at('x'))).rejects.toMatchObject({ code: 'module-identifier' });
  });

  test('a header length beyond the file is refused before it is read', async () => {
    const bytes = await writeModuleBytes(tinyModule());
    new DataView(bytes.buffer).setUint32(0, 0xfffffff0, true);
    await writeFile(at('x'), bytes);
    await expect(readModuleFile(at('x'))).rejects.toMatchObject({ code: 'module-truncated' });
    await truncate(at('x'), 2 ** 33);
    await expect(readModuleFile(at('x'))).rejects.toMatchObject({ code: 'module-too-large' });
  });
});

describe('verifyData', () => {
  test('finds one damaged byte of a tensor, which reading alone does not', async () => {
    await writeModuleFile(richModule(), at('m.qvr'));
    const bytes = await readFile(at('m.qvr'));
    await using good = await readModuleFile(at('m.qvr'));
    expect(await good.verifyData()).toEqual({ checked: 6, unchecked: 0, bytes: 8239 });
    const offset = good.info.segments[0]!.offset + 4000;
    bytes[offset]! ^= 1;
    await writeFile(at('bad.qvr'), bytes);
    await using bad = await readModuleFile(at('bad.qvr'));
    await expect(bad.verifyData()).rejects.toMatchObject({
      code: 'module-digest',
      where: { file: at('bad.qvr'), tensor: 'layers.0.q_proj.weight' },
    });
  });
});

/** A safetensors file with the tensors `key` of `bytes`, each a row of U8 unless `type` says otherwise. */
function safetensors(
  tensors: Record<string, Uint8Array>,
  type: { readonly dtype?: unknown; readonly shape?: unknown } = {},
): Uint8Array {
  let end = 0;
  const entries = Object.entries(tensors).map(([key, bytes]) => {
    const start = end;
    end += bytes.byteLength;
    return [key, { dtype: 'U8', shape: [bytes.byteLength], ...type, data_offsets: [start, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.byteLength));
  return Buffer.concat([prefix, header, ...Object.values(tensors)]);
}

describe('external weights', () => {
  const bytes = noise(200, 'external');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const external = (uri: string, key = 'k', digest = sha256): TensorData => ({
    ...{ byteLength: 200, external: { uri, key, sha256: digest }, read: () => Promise.resolve(bytes) },
  });

  beforeEach(async () => {
    await mkdir(at('models/deep'), { recursive: true });
    const file = safetensors({ other: noise(70, 'other'), k: bytes });
    await writeFile(at('models/w.safetensors'), file);
    await writeFile(at('models/deep/w.safetensors'), file);
    await writeFile(at('secret.safetensors'), file);
  });

  test.each(['w.safetensors', 'deep/w.safetensors', './deep/../w.safetensors'])('are read from %s', async (uri) => {
    await writeModuleFile(withTensor(external(uri)), at('models/m.qvr'));
    expect((await readFile(at('models/m.qvr'))).includes(Buffer.from(bytes))).toBe(false);
    await using file = await readModuleFile(at('models/m.qvr'));
    const data = file.parameters[0]!.data!;
    expect(data.external).toEqual({ uri, key: 'k', sha256 });
    expect(await data.read()).toEqual(bytes);
    expect(await file.verifyData()).toEqual({ checked: 1, unchecked: 0, bytes: 200 });
  });

  test('are copied into the module on request', async () => {
    await writeModuleFile(withTensor(external('w.safetensors')), at('models/m.qvr'));
    await using file = await readModuleFile(at('models/m.qvr'));
    await writeModuleFile(file, at('alone.qvr'), { external: 'embed' });
    await using alone = await readModuleFile(at('alone.qvr'));
    expect(alone.parameters[0]!.data!.external).toBeUndefined();
    expect(await alone.parameters[0]!.data!.read()).toEqual(bytes);
    await expect(writeModuleFile(file, at('elsewhere.qvr'))).rejects.toMatchObject({ code: 'file-not-found' });
  });

  test.each([
    '../secret.safetensors',
    '../missing.safetensors',
    '/etc/passwd',
    'deep/../../secret.safetensors',
    '..',
    '.',
    'file:///etc/passwd',
    'a\\b',
    '',
  ])('outside the folder are refused: %s', async (uri) => {
    await expect(writeModuleFile(withTensor(external(uri)), at('models/m.qvr'))).rejects.toMatchObject({
      code: 'external-path',
    });
    await writeFile(at('models/m.qvr'), await writeModuleBytes(withTensor(external(uri))));
    await using file = await readModuleFile(at('models/m.qvr'));
    await expect(file.parameters[0]!.data!.read()).rejects.toMatchObject({ code: 'external-path' });
  });

  test('behind a link out of the folder are refused', async () => {
    await symlink(at('secret.safetensors'), at('models/link.safetensors'));
    const write = writeModuleFile(withTensor(external('link.safetensors')), at('models/m.qvr'));
    await expect(write).rejects.toMatchObject({ code: 'external-path' });
  });

  test.each<[string, Uint8Array, string]>([
    ['other bytes', safetensors({ k: noise(200, 'changed') }), 'module-digest'],
    ['another length', safetensors({ k: noise(201, 'longer') }), 'external-tensor'],
    ['no such tensor', safetensors({ j: bytes }), 'external-tensor'],
    ['a tensor beyond the end', safetensors({ k: bytes }).slice(0, -1), 'external-tensor'],
    ['a header beyond the end', safetensors({ k: bytes }).slice(0, 20), 'external-tensor'],
    ['no JSON', new Uint8Array(40).fill(8, 0, 1), 'external-tensor'],
    ['nothing', new Uint8Array(0), 'file-truncated'],
    [
      'forged offsets',
      Buffer.from(
        Buffer.from(safetensors({ k: bytes }))
          .toString('latin1')
          .replace('[0,200]', '[-5,19]'),
        'latin1',
      ),
      'external-tensor',
    ],
  ])('with %s are found', async (_, content, code) => {
    await writeModuleFile(withTensor(external('w.safetensors')), at('models/m.qvr'));
    await writeFile(at('models/w.safetensors'), content);
    await using file = await readModuleFile(at('models/m.qvr'));
    await expect(file.verifyData()).rejects.toMatchObject({ code });
  });

  test.each<[string, DType]>([
    ['F32', 'f32'],
    ['BF16', 'bf16'],
    ['F16', 'f16'],
    ['F8_E4M3', 'f8e4m3fn'],
    ['F8_E5M2', 'f8e5m2'],
    ['F8_E8M0', 'f8e8m0fnu'],
    ['I32', 'i32'],
    ['U8', 'u8'],
    ['BOOL', 'bool'],
  ])('of type %s are read as %s in the same shape, and as nothing else', async (name, dtype) => {
    const shape = [5, 40 / dtypeBytes[dtype]];
    const weights = { name: 'w', type: { dtype, shape }, data: external('w.safetensors'), trainable: true };
    await writeModuleFile(moduleOf([], { parameters: [weights] }), at('models/m.qvr'));
    await using file = await readModuleFile(at('models/m.qvr'));
    const read = async (type: { readonly dtype?: unknown; readonly shape?: unknown }) => {
      await writeFile(at('models/w.safetensors'), safetensors({ k: bytes }, type));
      return file.parameters[0]!.data!.read();
    };
    expect(await read({ dtype: name, shape })).toEqual(bytes);
    // As many bytes each time.
    const others = [
      { dtype: name === 'F16' ? 'BF16' : 'F16', shape },
      { dtype: name, shape: shape.toReversed() },
      { dtype: name, shape: [shape[0]! * shape[1]!] },
      { dtype: undefined, shape },
      { dtype: name, shape: undefined },
    ];
    for (const other of others) {
      const message = `expected "${name}" and [${shape}]`;
      await expect(read(other)).rejects.toMatchObject({
        code: 'external-tensor',
        message: expect.stringContaining(message),
        where: { tensor: 'k' },
      });
    }
  });

  test('need a file to be read', async () => {
    const module = readModuleBytes(await writeModuleBytes(withTensor(external('w.safetensors'))));
    await expect(module.parameters[0]!.data!.read()).rejects.toMatchObject({ code: 'external-unresolved' });
  });
});

test('data of several chunks is written and read in order', async () => {
  const data = memoryData(noise(70 * 2 ** 20, 'seventy'));
  await writeModuleFile(withTensor(data), at('m.qvr'));
  await using file = await readModuleFile(at('m.qvr'));
  expect(Buffer.compare(await file.parameters[0]!.data!.read(), await data.read())).toBe(0);
  expect(await file.verifyData()).toEqual({ checked: 1, unchecked: 0, bytes: data.byteLength });
});

test('parameters of a structure without data stay without', async () => {
  const module = moduleOf([], { parameters: [{ ...parameter('w', 'f32', [4]), data: undefined }] });
  await writeModuleFile(module, at('m.qvr'));
  await using file = await readModuleFile(at('m.qvr'));
  expect(file.parameters[0]!.data).toBeUndefined();
});
