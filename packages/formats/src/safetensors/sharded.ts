import { QuaverError } from '@quaver/numerics';
import type { ByteSource } from '../byte-source.ts';
import type { Checkpoint, CheckpointTensor } from '../checkpoint.ts';
import { isJsonObject, parseJsonObject } from '../json.ts';
import { openSafetensors } from './open.ts';

/** `model.safetensors.index.json`: which shard holds which tensor. */
export interface SafetensorsIndex {
  readonly weightMap: ReadonlyMap<string, string>;
}

/**
 * Checks an index. Shard names must be plain file names, so that an index cannot reach outside its folder.
 * @throws QuaverError `json-invalid`, `json-duplicate-key`, `safetensors-bad-index`
 */
export function parseSafetensorsIndex(file: string, bytes: Uint8Array): SafetensorsIndex {
  const { weight_map: map } = parseJsonObject(file, bytes);
  if (!isJsonObject(map)) throw badIndex(file, 'has no "weight_map" object');
  const weightMap = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string') throw badIndex(file, `maps tensor "${tensor}" to something that is no file name`);
    if (!/^[^/\\\0:]+$/.test(shard) || shard === '.' || shard === '..') {
      throw badIndex(file, `maps tensor "${tensor}" to "${shard}", which is not a plain file name`);
    }
    weightMap.set(tensor, shard);
  }
  return { weightMap };
}

/**
 * Opens the shards of an index and joins them. `openShard` is called once per shard, in name order.
 * @throws QuaverError `safetensors-missing-tensor` when a shard lacks a tensor that the index promises
 */
export async function openShardedSafetensors(
  file: string,
  index: SafetensorsIndex,
  openShard: (name: string) => Promise<ByteSource>,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const shards = new Map<string, Checkpoint>();
  const close = async () => {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
  };
  try {
    for (const name of [...new Set(index.weightMap.values())].sort()) {
      const source = await openShard(name);
      shards.set(name, await openSafetensors(source, signal).catch((error) => closeThenThrow(source, error)));
    }
    const tensors = new Map<string, CheckpointTensor>();
    for (const [name, shardName] of index.weightMap) {
      const tensor = shards.get(shardName)!.tensors.get(name);
      if (tensor === undefined) {
        throw new QuaverError('safetensors-missing-tensor', `${file}: tensor "${name}" is not in ${shardName}`, {
          where: { file, tensor: name },
          hint: 'The index and the shards come from different versions: fetch the model again.',
        });
      }
      tensors.set(name, tensor);
    }
    const metadata = new Map([...shards.values()].flatMap((shard) => [...shard.metadata]));
    return { format: 'safetensors', source: file, tensors, metadata, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Gives the handle back before the error goes on. */
export async function closeThenThrow(resource: { close(): Promise<void> }, error: unknown): Promise<never> {
  await resource.close();
  throw error;
}

function badIndex(file: string, problem: string): QuaverError {
  return new QuaverError('safetensors-bad-index', `${file}: the index ${problem}`, { where: { file } });
}
