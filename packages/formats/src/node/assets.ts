import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { type JsonObject, parseJsonObject } from '../json.ts';
import { fileError } from './file-error.ts';

/** The small files that come with a checkpoint and are worth passing on. */
const assetNames = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
] as const;

export type AssetName = (typeof assetNames)[number];

/** Far above any real tokenizer (about 35 MB), far below what fills the memory. */
const maxAssetBytes = 256 << 20;

/** The files beside the tensors of a checkpoint; each read gives `undefined` where there is no such file. */
export interface CheckpointAssets {
  /** Those that exist. */
  readonly names: readonly AssetName[];
  bytes(name: AssetName): Promise<Uint8Array | undefined>;
  text(name: AssetName): Promise<string | undefined>;
  /** @throws QuaverError `json-invalid`, `json-duplicate-key` */
  json(name: AssetName): Promise<JsonObject | undefined>;
}

/** The assets in a folder; none for `undefined`. */
export async function openAssets(folder: string | undefined): Promise<CheckpointAssets> {
  const present = new Set(folder === undefined ? [] : await readdir(folder));
  const names = assetNames.filter((name) => present.has(name));
  const path = (name: AssetName) => join(folder ?? '', name);
  const bytes = async (name: AssetName) => (names.includes(name) ? readAsset(path(name)) : undefined);
  return {
    names,
    bytes,
    async text(name) {
      const content = await bytes(name);
      return content && new TextDecoder().decode(content);
    },
    async json(name) {
      const content = await bytes(name);
      return content && parseJsonObject(path(name), content);
    },
  };
}

/** A small file in whole. @throws QuaverError `asset-too-large`, `file-not-found` */
export async function readAsset(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > maxAssetBytes) {
      throw new QuaverError('asset-too-large', `${path}: ${size} bytes, at most ${maxAssetBytes} are read`, {
        where: { file: path },
      });
    }
    return await readFile(path);
  } catch (error) {
    throw fileError(path, error);
  }
}
