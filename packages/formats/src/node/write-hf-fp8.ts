import { join } from 'node:path';
import { type HfFp8Model, layOutHfFp8 } from '../hf-fp8/encode.ts';
import type { AssetName } from './assets.ts';
import { writeFolderAtomically } from './atomic-write.ts';
import { type WriteShardsOptions, writeBytesFile, writeSafetensorsShards, writeTextFile } from './write-safetensors.ts';

export interface WriteHfFp8Options extends WriteShardsOptions {
  /** Files to copy as they are: tokenizer, generation config, chat template. `config.json` comes from the model. */
  readonly assets?: Iterable<readonly [name: Exclude<AssetName, 'config.json'>, bytes: Uint8Array]>;
}

/**
 * Writes a folder in the Hugging Face FP8 block layout, which vLLM and transformers serve: `config.json` with its
 * `quantization_config`, the safetensors, and the assets. The folder appears when it is complete.
 * @throws QuaverError `output-exists`, `hf-fp8-bad-weight`, and as `writeSafetensors`
 */
export async function writeHfFp8(folder: string, model: HfFp8Model, options: WriteHfFp8Options = {}): Promise<void> {
  const { config, tensors } = layOutHfFp8(model);
  await writeFolderAtomically(folder, async (temporary) => {
    await writeTextFile(join(temporary, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    for (const [name, bytes] of options.assets ?? []) await writeBytesFile(join(temporary, name), bytes);
    await writeSafetensorsShards(temporary, tensors, options);
  });
}
