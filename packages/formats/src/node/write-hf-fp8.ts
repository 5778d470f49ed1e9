import { type HfFp8Model, layOutHfFp8 } from '../hf-fp8/encode.ts';
import { type WriteHfFolderOptions, writeHfFolder } from './write-hf-folder.ts';

export type WriteHfFp8Options = WriteHfFolderOptions;

/**
 * Writes a folder in the Hugging Face FP8 block layout, which vLLM and transformers serve: `config.json` with its
 * `quantization_config`, the safetensors, and the assets. The folder appears when it is complete.
 * @throws QuaverError `output-exists`, `hf-fp8-bad-weight`, and as `writeSafetensors`
 */
export async function writeHfFp8(folder: string, model: HfFp8Model, options: WriteHfFp8Options = {}): Promise<void> {
  await writeHfFolder(folder, layOutHfFp8(model), options);
}
