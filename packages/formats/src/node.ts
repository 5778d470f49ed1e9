export type { AssetName, CheckpointAssets } from './node/assets.ts';
export { type WriteOptions, writeFileAtomically, writeFolderAtomically } from './node/atomic-write.ts';
export { fileError } from './node/file-error.ts';
export { openFileSource } from './node/file-source.ts';
export { type OpenCheckpointOptions, type OpenedCheckpoint, openCheckpoint } from './node/open-checkpoint.ts';
export { type HfModel, type WriteHfFolderOptions, writeHfFolder } from './node/write-hf-folder.ts';
export { type WriteHfFp8Options, writeHfFp8 } from './node/write-hf-fp8.ts';
export {
  type WriteSafetensorsOptions,
  type WriteShardsOptions,
  writeSafetensors,
  writeSafetensorsShards,
} from './node/write-safetensors.ts';
