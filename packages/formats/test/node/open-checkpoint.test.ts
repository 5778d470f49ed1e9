import { cpSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openCheckpoint, openFileSource, writeSafetensorsShards } from '../../src/node.ts';
import { dataBytes, dataPath } from '../data.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quaver-formats-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const tensor = (name: string, values: number[]) => {
  const bytes = new Uint8Array(new Float32Array(values).buffer);
  return { name, dtype: 'f32' as const, shape: [values.length], read: () => bytes };
};

async function readAndClose(path: string, name: string): Promise<number[]> {
  const checkpoint = await openCheckpoint(path);
  const bytes = await checkpoint.tensors.get(name)!.read();
  await checkpoint.close();
  return [...new Float32Array(bytes.slice().buffer)];
}

describe('openFileSource', () => {
  test('reads by range beyond 4 GiB', async () => {
    const path = join(folder, 'sparse');
    const at = 5 * 2 ** 30;
    const handle = await open(path, 'w');
    await handle.write(new Uint8Array([1, 2, 3]), 0, 3, at);
    await handle.close();
    const source = await openFileSource(path);
    expect(source.size).toBe(at + 3);
    expect([...(await source.read(at - 1, 4))]).toEqual([0, 1, 2, 3]);
    await expect(source.read(at, 4)).rejects.toMatchObject({ code: 'source-out-of-range' });
    await expect(source.read(-1, 1)).rejects.toMatchObject({ code: 'source-out-of-range' });
    await expect(source.read(0.5, 1)).rejects.toMatchObject({ code: 'source-out-of-range' });
    await expect(source.read(0, 1, AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
    await source.close();
  });

  test('says so when the file shrinks under it', async () => {
    const path = join(folder, 'file');
    writeFileSync(path, new Uint8Array(100));
    const source = await openFileSource(path);
    truncateSync(path, 10);
    await expect(source.read(0, 20)).rejects.toMatchObject({ code: 'source-truncated', where: { byte: 10 } });
    await source.close();
  });

  test('a missing file, a folder and a device', async () => {
    await expect(openFileSource(join(folder, 'no'))).rejects.toMatchObject({
      name: 'QuaverError',
      code: 'file-not-found',
    });
    await expect(openFileSource(folder)).rejects.toMatchObject({ code: 'file-is-directory' });
    await expect(openFileSource('/dev/null')).rejects.toMatchObject({ code: 'file-not-a-file' });
  });
});

describe('openCheckpoint', () => {
  test('a folder of FP8 blocks, with its config', async () => {
    const checkpoint = await openCheckpoint(dataPath('fp8'));
    expect(checkpoint.format).toBe('hf-fp8');
    expect(checkpoint.assets.names).toEqual(['config.json']);
    expect(await checkpoint.assets.json('config.json')).toMatchObject({ model_type: 'llama' });
    expect(await checkpoint.assets.bytes('tokenizer.json')).toBeUndefined();
    expect([...checkpoint.tensors.values()].map(({ dtype }) => dtype).sort()).toEqual(['bf16', 'f32']);
    await checkpoint.close();
    const narrow = await openCheckpoint(join(dataPath('fp8'), 'model.safetensors'), { dequantizeTo: 'bf16' });
    expect([narrow.format, ...[...narrow.tensors.values()].map(({ dtype }) => dtype)]).toEqual([
      'hf-fp8',
      'bf16',
      'bf16',
    ]);
    await narrow.close();
  });

  test('files with the wrong name', async () => {
    writeFileSync(join(folder, 'a.bin'), dataBytes('types.gguf'));
    writeFileSync(join(folder, 'b.gguf'), dataBytes('all-dtypes.safetensors'));
    expect(await readAndClose(join(folder, 'b.gguf'), 'scalar')).toEqual([1.5]);
    const gguf = await openCheckpoint(join(folder, 'a.bin'));
    expect([gguf.format, gguf.tensors.size, gguf.assets.names]).toEqual(['gguf', 18, []]);
    await gguf.close();
  });

  test('a folder of shards', async () => {
    const tensors = [tensor('a', [1, 2]), tensor('b', [3]), tensor('c', [4, 5, 6])];
    const names = await writeSafetensorsShards(folder, tensors, { maxShardBytes: 12 });
    expect(names).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
    expect(await readAndClose(folder, 'a')).toEqual([1, 2]);
    expect(await readAndClose(folder, 'c')).toEqual([4, 5, 6]);
  });

  test('a folder with one GGUF', async () => {
    cpSync(dataPath('types.gguf'), join(folder, 'model.gguf'));
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.format).toBe('gguf');
    await checkpoint.close();
  });

  const index = (map: unknown) =>
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  const cases: readonly (readonly [string, string, () => void])[] = [
    ['an empty folder', 'checkpoint-empty', () => undefined],
    [
      'shards without an index',
      'checkpoint-ambiguous',
      () => {
        for (const i of [1, 2])
          cpSync(dataPath('all-dtypes.safetensors'), join(folder, `model-0000${i}-of-00002.safetensors`));
      },
    ],
    ['an index of a missing shard', 'file-not-found', () => index({ a: 'no.safetensors' })],
    ['an index that leaves the folder', 'safetensors-bad-index', () => index({ a: '../x.safetensors' })],
    ['an index that leaves the folder for good', 'safetensors-bad-index', () => index({ a: '..' })],
    ['an index of numbers', 'safetensors-bad-index', () => index({ a: 1 })],
    ['an index without a map', 'safetensors-bad-index', () => index(null)],
    [
      'an index of a missing tensor',
      'safetensors-missing-tensor',
      () => {
        cpSync(dataPath('all-dtypes.safetensors'), join(folder, 's.safetensors'));
        index({ nothing: 's.safetensors' });
      },
    ],
    [
      'a config that is no JSON',
      'json-invalid',
      () => {
        cpSync(dataPath('all-dtypes.safetensors'), join(folder, 'model.safetensors'));
        writeFileSync(join(folder, 'config.json'), '{');
      },
    ],
    [
      'another quantization',
      'quantization-unsupported',
      () => {
        cpSync(dataPath('all-dtypes.safetensors'), join(folder, 'model.safetensors'));
        writeFileSync(join(folder, 'config.json'), '{"quantization_config":{"quant_method":"awq"}}');
      },
    ],
  ];
  test.each(cases)('%s', async (_, code, prepare) => {
    prepare();
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      name: 'QuaverError',
      code,
      message: expect.stringContaining(folder),
    });
  });

  test('nothing at all, and a file as a folder', async () => {
    await expect(openCheckpoint(join(folder, 'no'))).rejects.toMatchObject({ code: 'file-not-found' });
    mkdirSync(join(folder, 'model.safetensors'));
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: 'file-is-directory' });
  });
});
