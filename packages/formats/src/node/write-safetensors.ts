import { join } from 'node:path';
import type { TensorToWrite } from '../checkpoint.ts';
import { layOutSafetensors, safetensorsChunks, tensorBytes } from '../safetensors/encode.ts';
import { type WriteOptions, writeFileAtomically } from './atomic-write.ts';

export interface WriteSafetensorsOptions extends WriteOptions {
  /** `__metadata__`. Default `format: "pt"`, without which some loaders refuse the file. */
  readonly metadata?: Iterable<readonly [string, string]>;
}

export interface WriteShardsOptions extends WriteSafetensorsOptions {
  /** Most bytes of tensor data per file; a larger tensor gets a file of its own. Default 5·10⁹, as on the Hub. */
  readonly maxShardBytes?: number;
}

const defaultMetadata = [['format', 'pt']] as const;

/**
 * Writes one safetensors file, a tensor at a time; equal tensors give equal bytes.
 * @throws QuaverError `tensor-duplicate-name`, `tensor-size-mismatch`, `disk-full`, `aborted`, …
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const layout = layOutSafetensors(tensors, options.metadata ?? defaultMetadata);
  await writeFileAtomically(path, safetensorsChunks(layout, options.signal), layout.totalBytes, options);
}

/**
 * Writes `model.safetensors`, or shards with `model.safetensors.index.json` when one file would be over
 * `maxShardBytes`. Tensors fill the shards in the order given. Returns the names of the files, the index last.
 * @throws QuaverError as `writeSafetensors`
 */
export async function writeSafetensorsShards(
  folder: string,
  tensors: Iterable<TensorToWrite>,
  options: WriteShardsOptions = {},
): Promise<readonly string[]> {
  const shards = fillShards(tensors, options.maxShardBytes ?? 5e9);
  if (shards.length <= 1) {
    await writeSafetensors(join(folder, 'model.safetensors'), shards[0] ?? [], options);
    return ['model.safetensors'];
  }
  const padded = (number: number) => String(number).padStart(5, '0');
  const names = shards.map((_, i) => `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`);
  const weightMap: Record<string, string> = {};
  let totalSize = 0;
  for (const [i, shard] of shards.entries()) {
    await writeSafetensors(join(folder, names[i]!), shard, options);
    for (const tensor of shard) {
      weightMap[tensor.name] = names[i]!;
      totalSize += tensorBytes(tensor);
    }
  }
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap };
  await writeTextFile(join(folder, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`);
  return [...names, 'model.safetensors.index.json'];
}

function fillShards(tensors: Iterable<TensorToWrite>, maxBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = maxBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= bytes;
  }
  return shards;
}

export async function writeTextFile(path: string, text: string): Promise<void> {
  await writeBytesFile(path, new TextEncoder().encode(text));
}

export async function writeBytesFile(path: string, bytes: Uint8Array): Promise<void> {
  await writeFileAtomically(path, once(bytes), bytes.byteLength);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
