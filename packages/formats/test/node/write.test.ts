import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TensorToWrite } from '../../src/checkpoint.ts';
import type { HfFp8Model } from '../../src/hf-fp8/encode.ts';
import { openCheckpoint, writeHfFp8, writeSafetensors, writeSafetensorsShards } from '../../src/node.ts';
import { dataJson, dataPath } from '../data.ts';

let folder: string;
const opened: { close(): Promise<void> }[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quaver-formats-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((checkpoint) => checkpoint.close()));
  rmSync(folder, { recursive: true });
});

async function openForTest(path: string) {
  const checkpoint = await openCheckpoint(path);
  opened.push(checkpoint);
  return checkpoint;
}

const tensor = (name: string, bytes: number, read?: TensorToWrite['read']): TensorToWrite => {
  return { name, dtype: 'u8', shape: [bytes], read: read ?? (() => new Uint8Array(bytes)) };
};

describe('writeSafetensors', () => {
  test('reports progress to the last byte and leaves only the file', async () => {
    const path = join(folder, 'a.safetensors');
    const seen: number[] = [];
    await writeSafetensors(path, [tensor('a', 1000), tensor('b', 24)], { onProgress: (done) => seen.push(done) });
    expect(readdirSync(folder)).toEqual(['a.safetensors']);
    expect(seen.at(-1)).toBe(readFileSync(path).byteLength);
    expect(readFileSync(path, 'latin1')).toContain('"__metadata__":{"format":"pt"}');
  });

  const failing = async (tensors: TensorToWrite[], code: string, signal?: AbortSignal) => {
    const path = join(folder, 'a.safetensors');
    writeFileSync(path, 'before');
    await expect(writeSafetensors(path, tensors, signal && { signal })).rejects.toMatchObject({
      name: 'QuaverError',
      code,
    });
    expect(readdirSync(folder)).toEqual(['a.safetensors']);
    expect(readFileSync(path, 'utf8')).toBe('before');
  };

  test('wrong bytes: no partial file, the old one untouched', () =>
    failing([tensor('a', 10), tensor('b', 10, () => new Uint8Array(9))], 'tensor-size-mismatch'));

  test('more than the disk holds: refused before the first tensor is read', () =>
    failing([tensor('a', 2 ** 52, () => expect.unreachable('no tensor should be read'))], 'disk-full'));

  test('an abort between tensors', async () => {
    const controller = new AbortController();
    const stop = () => {
      controller.abort();
      return new Uint8Array(5);
    };
    await failing([tensor('a', 5, stop), tensor('b', 5)], 'aborted', controller.signal);
  });

  test('a folder that does not exist', async () => {
    const path = join(folder, 'no', 'a.safetensors');
    await expect(writeSafetensors(path, [])).rejects.toMatchObject({ code: 'file-not-found' });
  });

  test('a write that the system cuts short leaves nothing', () => {
    const module = new URL('../../src/node.ts', import.meta.url).href;
    const script = `
      const { writeSafetensors } = await import(${JSON.stringify(module)});
      const bytes = new Uint8Array(1 << 20);
      await writeSafetensors(${JSON.stringify(join(folder, 'a.safetensors'))}, [{ name: 'a', dtype: 'u8', shape: [bytes.length], read: () => bytes }])
        .then(() => console.log('written'), (error) => console.log(error.name, error.code));`;
    const command = `trap '' XFSZ; ulimit -f 16; exec "$0" --conditions=@quaver/source --input-type=module -e "$1"`;
    const output = execFileSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8', stdio: 'pipe' });
    expect(output.trim()).toBe('QuaverError file-too-large');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('writeSafetensorsShards', () => {
  test('one file where everything fits', async () => {
    expect(await writeSafetensorsShards(folder, [tensor('a', 5), tensor('b', 5)], { maxShardBytes: 10 })).toEqual([
      'model.safetensors',
    ]);
    expect(readdirSync(folder)).toEqual(['model.safetensors']);
  });

  test('the index names every tensor and the total; a tensor above the limit has its own file', async () => {
    await writeSafetensorsShards(folder, [tensor('a', 3), tensor('big', 50), tensor('b', 4), tensor('c', 4)], {
      maxShardBytes: 8,
    });
    expect(JSON.parse(readFileSync(join(folder, 'model.safetensors.index.json'), 'utf8'))).toEqual({
      metadata: { total_size: 61 },
      weight_map: {
        a: 'model-00001-of-00003.safetensors',
        big: 'model-00002-of-00003.safetensors',
        b: 'model-00003-of-00003.safetensors',
        c: 'model-00003-of-00003.safetensors',
      },
    });
  });
});

describe('writeHfFp8', () => {
  async function model(): Promise<HfFp8Model> {
    const checkpoint = await openForTest(dataPath('fp8'));
    const all = [...checkpoint.tensors.values()];
    return {
      config: dataJson('fp8/config.json'),
      weights: all.flatMap(({ name, shape, fp8 }) =>
        fp8 ? [{ ...fp8, name, shape: [shape[0]!, shape[1]!] as const }] : [],
      ),
      tensors: [
        ...all.filter(({ fp8 }) => fp8 === undefined),
        { name: 'lm_head.weight', dtype: 'bf16', shape: [3, 2], read: () => new Uint8Array(12) },
      ],
    };
  }

  test('writes what a reader of the layout finds, bit for bit', async () => {
    const path = join(folder, 'out');
    const tokenizer = new TextEncoder().encode('{"version": "1.0"}');
    await writeHfFp8(path, await model(), { assets: [['tokenizer.json', tokenizer]] });
    expect(readdirSync(folder)).toEqual(['out']);
    expect(readdirSync(path).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
    expect(JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))).toEqual({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      quantization_config: {
        quant_method: 'fp8',
        fmt: 'e4m3',
        activation_scheme: 'dynamic',
        weight_block_size: [128, 128],
        modules_to_not_convert: ['lm_head'],
      },
    });
    const [written, original] = [await openForTest(path), await openForTest(dataPath('fp8'))];
    expect(written.format).toBe('hf-fp8');
    for (const [name, tensor] of original.tensors) {
      const found = written.tensors.get(name)!;
      expect(Buffer.from(await found.read()).equals(Buffer.from(await tensor.read()))).toBe(true);
      if (tensor.fp8) expect([...(await found.fp8!.readCodes())]).toEqual([...(await tensor.fp8.readCodes())]);
    }
    expect(await written.assets.text('tokenizer.json')).toBe('{"version": "1.0"}');
  });

  test('fills an empty folder, refuses any other', async () => {
    const path = join(folder, 'out');
    mkdirSync(path);
    await writeHfFp8(path, await model());
    expect(readdirSync(path).sort()).toEqual(['config.json', 'model.safetensors']);
    await expect(writeHfFp8(path, await model())).rejects.toMatchObject({ code: 'output-exists' });
    writeFileSync(join(folder, 'file'), '');
    await expect(writeHfFp8(join(folder, 'file'), await model())).rejects.toMatchObject({ code: 'output-exists' });
  });

  test.each<[string, (m: HfFp8Model) => HfFp8Model, string]>([
    ['too few scales', (m) => ({ ...m, blockShape: [64, 64] }), 'hf-fp8-bad-weight'],
    [
      'a name without .weight',
      (m) => ({ ...m, weights: [...m.weights].map((w) => ({ ...w, name: 'a' })) }),
      'hf-fp8-bad-weight',
    ],
    [
      'too few codes',
      (m) => ({ ...m, weights: [...m.weights].map((w) => ({ ...w, readCodes: () => new Uint8Array(1) })) }),
      'tensor-size-mismatch',
    ],
  ])('%s: an error and no folder', async (_, change, code) => {
    await expect(writeHfFp8(join(folder, 'out'), change(await model()))).rejects.toMatchObject({ code });
    expect(readdirSync(folder)).toEqual([]);
  });
});
