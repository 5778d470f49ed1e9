import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QuaverError } from '@quaver/numerics';
import type { Checkpoint } from '../checkpoint.ts';
import { pairFp8Blocks } from '../hf-fp8/pair.ts';
import { fp8BlockShape } from '../hf-fp8/quantization-config.ts';
import { openCheckpointFile } from '../recognise.ts';
import { closeThenThrow, openShardedSafetensors, parseSafetensorsIndex } from '../safetensors/sharded.ts';
import { type CheckpointAssets, openAssets, readAsset } from './assets.ts';
import { fileError } from './file-error.ts';
import { openFileSource } from './file-source.ts';

export interface OpenCheckpointOptions {
  /** What FP8 block weights read as. Default `f32`, which is exact; their codes stay reachable under `fp8`. */
  readonly dequantizeTo?: 'f32' | 'bf16';
  readonly signal?: AbortSignal;
}

export interface OpenedCheckpoint extends Checkpoint {
  /** `config.json`, tokenizer and the like beside the tensors; empty for GGUF, which carries them in its metadata. */
  readonly assets: CheckpointAssets;
}

const indexName = 'model.safetensors.index.json';

/**
 * Opens a checkpoint folder (safetensors in one file or in shards, Hugging Face FP8 blocks, or a single GGUF), a
 * `.safetensors` file (with the assets of its folder) or a `.gguf` file. Files are recognised by content.
 * @throws QuaverError `file-not-found`, `checkpoint-unrecognised`, `checkpoint-ambiguous`, `checkpoint-empty`,
 * `quantization-unsupported`, and as the readers of each format
 */
export async function openCheckpoint(path: string, options: OpenCheckpointOptions = {}): Promise<OpenedCheckpoint> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    (error) => Promise.reject(fileError(path, error)),
  );
  const folder = isFolder ? path : dirname(path);
  const checkpoint = isFolder ? await openFolder(path, options.signal) : await openFile(path, options.signal);
  try {
    if (checkpoint.format === 'gguf') return { ...checkpoint, assets: await openAssets(undefined) };
    const assets = await openAssets(folder);
    const config = await assets.json('config.json');
    const blockShape = config && fp8BlockShape(join(folder, 'config.json'), config);
    if (blockShape === undefined) return { ...checkpoint, assets };
    return { ...pairFp8Blocks(checkpoint, blockShape, options.dequantizeTo ?? 'f32'), assets };
  } catch (error) {
    return closeThenThrow(checkpoint, error);
  }
}

async function openFile(path: string, signal?: AbortSignal): Promise<Checkpoint> {
  const source = await openFileSource(path);
  return openCheckpointFile(source, signal).catch((error) => closeThenThrow(source, error));
}

async function openFolder(folder: string, signal?: AbortSignal): Promise<Checkpoint> {
  const names = (await readdir(folder)).sort();
  if (names.includes(indexName)) {
    const path = join(folder, indexName);
    const index = parseSafetensorsIndex(path, await readAsset(path));
    return openShardedSafetensors(path, index, (shard) => openFileSource(join(folder, shard)), signal);
  }
  if (names.includes('model.safetensors')) return openFile(join(folder, 'model.safetensors'), signal);
  const candidates = names.filter((name) => name.endsWith('.safetensors') || name.endsWith('.gguf'));
  const [only, ...more] = candidates;
  const where = { file: folder };
  if (only === undefined) {
    throw new QuaverError('checkpoint-empty', `${folder}: found no .safetensors and no .gguf file`, {
      where,
      hint: 'Give the folder that holds the weights and config.json.',
    });
  }
  if (more.length === 0) return openFile(join(folder, only), signal);
  const hint = candidates.some((name) => /-of-\d+\.safetensors$/.test(name))
    ? `The shards need their ${indexName}: fetch it too.`
    : 'Give one of the files instead of the folder.';
  throw new QuaverError('checkpoint-ambiguous', `${folder}: found ${candidates.join(', ')}`, { where, hint });
}
