import { join } from 'node:path';
import type { TensorToWrite } from '../checkpoint.ts';
import type { JsonObject } from '../json.ts';
import type { AssetName } from './assets.ts';
import { writeFolderAtomically } from './atomic-write.ts';
import { type WriteShardsOptions, writeBytesFile, writeSafetensorsShards, writeTextFile } from './write-safetensors.ts';

export interface WriteHfFolderOptions extends WriteShardsOptions {
  /** Files to copy as they are: tokenizer, generation config, chat template. `config.json` comes from the model. */
  readonly assets?: Iterable<readonly [name: Exclude<AssetName, 'config.json'>, bytes: Uint8Array]>;
}

/** A model as a Hugging Face folder holds it. */
export interface HfModel {
  /** What `config.json` says. */
  readonly config: JsonObject;
  readonly tensors: Iterable<TensorToWrite>;
}

/**
 * Writes a folder that transformers reads: `config.json`, the assets, and `model.safetensors` or its shards. The folder appears
 * when it is complete.
 * @throws QuaverError `output-exists`, and as `writeSafetensorsShards`
 */
export async function writeHfFolder(
  folder: string,
  { config, tensors }: HfModel,
  options: WriteHfFolderOptions = {},
): Promise<void> {
  await writeFolderAtomically(folder, async (temporary) => {
    await writeTextFile(join(temporary, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    for (const [name, bytes] of options.assets ?? []) await writeBytesFile(join(temporary, name), bytes);
    await writeSafetensorsShards(temporary, tensors, options);
  });
}
