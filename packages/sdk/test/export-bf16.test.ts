/** @file Folders in BF16: bits of the weights, configuration, shards. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { openCheckpoint } from '@quaver/formats/node';
import { type Module, memoryData } from '@quaver/ir';
import { floatFormats } from '@quaver/numerics';
import { afterAll, expect, test } from 'vitest';
import { compileModel, exportHfBf16, exportHfFp8, importModelFile, readModule, saveModule } from '../src/node.ts';
import { pathOf, temporaryFolder, tinyCheckpoint } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}

async function tensorsIn(checkpointFolder: string): Promise<Map<string, StoredTensor>> {
  const checkpoint = await openCheckpoint(checkpointFolder);
  const found = new Map<string, StoredTensor>();
  for (const [name, tensor] of checkpoint.tensors) {
    found.set(name, { dtype: tensor.dtype, shape: tensor.shape, bytes: Buffer.from(await tensor.read()) });
  }
  await checkpoint.close();
  return found;
}

function configIn(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path.join(at(name), 'config.json'), 'utf8'));
}

/** f32 bits to BF16 bits, to nearest even, by adding half of the last place; for finite numbers. */
function nearestEven(bits: number): number {
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

test('weights in BF16 keep their bits, and tied embeddings stay tied', async () => {
  const checkpoint = tinyCheckpoint(folder);
  await using imported = await importModelFile(checkpoint);
  const result = await exportHfBf16(imported.module, at('same'));
  const source = await tensorsIn(checkpoint);
  expect(result).toEqual({ tensors: source.size, rounded: 0 });
  expect(await tensorsIn(at('same'))).toEqual(source);
  expect(source.has('lm_head.weight')).toBe(false);
  expect(configIn('same')).toEqual(JSON.parse(readFileSync(path.join(checkpoint, 'config.json'), 'utf8')));
  const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
  expect(readdirSync(at('same'))).toEqual(expect.arrayContaining(names));
});

test('weights in f32 are rounded as another implementation rounds them', async () => {
  await using imported = await importModelFile(tinyCheckpoint(folder, 'llama2'));
  const { tensors, rounded } = await exportHfBf16(imported.module, at('rounded'));
  expect(rounded).toBe(tensors);
  const found = [...(await tensorsIn(at('rounded')))].map(([name, { dtype, shape, bytes }]) => [
    name,
    { dtype: dtype === 'bf16' ? 'bfloat16' : dtype, shape, sha256: createHash('sha256').update(bytes).digest('hex') },
  ]);
  expect(Object.fromEntries(found)).toEqual(JSON.parse(readFileSync(pathOf('data/llama2-bf16.json'), 'utf8')));
  expect(configIn('rounded')).toMatchObject({ torch_dtype: 'bfloat16', tie_word_embeddings: false });
});

/** The module with f32 masters of other numbers, as training leaves them: halfway cases, and their neighbours. */
function trained(module: Module): { readonly module: Module; readonly bits: Map<string, Uint32Array> } {
  const bits = new Map<string, Uint32Array>();
  const parameters = module.parameters.map((parameter) => {
    if (!parameter.trainable) return parameter;
    const count = parameter.type.shape.reduce((product, dim) => product * dim, 1);
    const words = Uint32Array.from({ length: count }, (_, i) => {
      const high = 0x3c00 + ((i * 2654435761) % 0x0300) + (i % 2 === 0 ? 0 : 0x8000);
      return ((high << 16) | [0x8000, 0x7fff, 0x8001, 0, 0xffff][i % 5]!) >>> 0;
    });
    bits.set(parameter.name, words);
    return {
      ...parameter,
      type: { ...parameter.type, dtype: 'f32' as const },
      data: memoryData(new Uint8Array(words.buffer)),
    };
  });
  return { module: { ...module, parameters }, bits };
}

test('f32 masters of a file come back as their nearest BF16, also from shards', async () => {
  await using imported = await importModelFile(tinyCheckpoint(folder, 'llama2'));
  const { module, bits } = trained(imported.module);
  await saveModule(module, at('trained.qvr'));
  await using saved = await readModule(at('trained.qvr'));
  await exportHfBf16(saved, at('sharded'), { maxShardBytes: 20_000 });
  expect(readdirSync(at('sharded'))).toContain('model.safetensors.index.json');
  await using again = await importModelFile(at('sharded'));
  const weights = again.module.parameters.filter(({ trainable }) => trainable);
  expect(weights.map(({ name }) => name).sort()).toEqual([...bits.keys()].sort());
  for (const { name, type, data } of weights) {
    expect(type.dtype).toBe('bf16');
    const words = new Uint16Array((await data!.read()).slice().buffer);
    expect(words, name).toEqual(Uint16Array.from(bits.get(name)!, nearestEven));
  }
});

test('FP8 codes become the numbers that they stand for, and the configuration forgets them', async () => {
  await using imported = await importModelFile(tinyCheckpoint(folder, 'qwen3'));
  const { module } = await compileModel(imported.module, { recipe: 'fp8-block-f32' });
  await exportHfFp8(module, at('fp8'));
  expect(configIn('fp8')).toHaveProperty('quantization_config');
  await using fp8 = await importModelFile(at('fp8'));
  await exportHfBf16(fp8.module, at('from-fp8'));
  expect(configIn('from-fp8')).not.toHaveProperty('quantization_config');
  const found = await tensorsIn(at('from-fp8'));
  const checkpoint = await openCheckpoint(at('fp8'));
  let compared = 0;
  for (const [name, { fp8: stored, shape }] of checkpoint.tensors) {
    if (!stored) continue;
    const [codes, scales] = [await stored.readCodes(), await stored.readScale()];
    const columns = shape[1]!;
    const [, scaleColumns] = stored.scaleShape;
    const expected = Uint16Array.from(codes, (code, i) => {
      const block = Math.floor(Math.floor(i / columns) / 128) * scaleColumns + Math.floor((i % columns) / 128);
      const value = Math.fround(floatFormats.f8e4m3fn.decode(code) * scales[block]!);
      return nearestEven(new Uint32Array(Float32Array.of(value).buffer)[0]!);
    });
    expect(new Uint16Array(Uint8Array.from(found.get(name)!.bytes).buffer), name).toEqual(expected);
    compared++;
  }
  await checkpoint.close();
  expect(compared).toBeGreaterThan(4);
});

test('what is compiled, and a folder that holds something, are refused; nothing is left', async () => {
  await using imported = await importModelFile(tinyCheckpoint(folder));
  for (const recipe of ['fp8-block', 'bf16']) {
    const { module } = await compileModel(imported.module, { recipe });
    await expect(exportHfBf16(module, at('compiled'))).rejects.toMatchObject({ code: 'export-compiled' });
  }
  await expect(exportHfBf16(imported.module, folder)).rejects.toMatchObject({ code: 'output-exists' });
  const bare = { ...imported.module, attachments: new Map() };
  await expect(exportHfBf16(bare, at('bare'))).rejects.toMatchObject({ code: 'export-config-missing' });
  const hollow = {
    ...imported.module,
    parameters: imported.module.parameters.map(({ data: _, ...parameter }) => ({ ...parameter, data: undefined })),
  };
  await expect(exportHfBf16(hollow, at('hollow'))).rejects.toMatchObject({
    code: 'export-no-data',
    where: { tensor: 'model.embed_tokens.weight' },
  });
  const controller = new AbortController();
  const stopped = exportHfBf16(imported.module, at('stopped'), {
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(stopped).rejects.toMatchObject({ code: 'aborted' });
  expect(['compiled', 'bare', 'hollow', 'stopped'].filter((name) => existsSync(at(name)))).toEqual([]);
  expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
});
