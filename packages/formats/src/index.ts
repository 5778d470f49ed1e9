export { type ByteSource, bytesSource } from './byte-source.ts';
export type {
  Checkpoint,
  CheckpointTensor,
  Fp8Storage,
  MetadataArray,
  MetadataValue,
  TensorToWrite,
} from './checkpoint.ts';
export { type GgufHeader, type GgufTensorInfo, readGgufHeader } from './gguf/header.ts';
export { openGguf } from './gguf/open.ts';
export type { GgufStorage } from './gguf/storage-types.ts';
export { type GgufTokenizer, tokenizerFromGguf } from './gguf/tokenizer.ts';
export { type Fp8WeightToWrite, type HfFp8Model, layOutHfFp8 } from './hf-fp8/encode.ts';
export { dequantizeFp8Blocks, pairFp8Blocks } from './hf-fp8/pair.ts';
export { type BlockShape, fp8BlockShape, fp8QuantizationConfig } from './hf-fp8/quantization-config.ts';
export type { JsonObject, JsonValue } from './json.ts';
export { openCheckpointFile, recogniseCheckpoint } from './recognise.ts';
export {
  encodeSafetensors,
  layOutSafetensors,
  type SafetensorsLayout,
  safetensorsChunks,
} from './safetensors/encode.ts';
export { readSafetensorsHeader, type SafetensorsEntry, type SafetensorsHeader } from './safetensors/header.ts';
export { openSafetensors } from './safetensors/open.ts';
export { openShardedSafetensors, parseSafetensorsIndex, type SafetensorsIndex } from './safetensors/sharded.ts';
export { elementCount, type TensorDType, tensorDTypeBytes } from './tensor-dtype.ts';
