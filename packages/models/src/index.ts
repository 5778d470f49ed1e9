export { type ImportAssets, type ImportOptions, type ImportResult, importModel } from './import-model.ts';
export {
  type LlamaConfig,
  type LlamaFamily,
  llamaConfigFromGguf,
  llamaConfigFromHuggingFace,
  type RopeScaling,
} from './llama/config.ts';
export { type CreateLlamaOptions, createLlama } from './llama/create.ts';
export { llamaFunctions, llamaStates, llamaSymbols } from './llama/graph.ts';
export type { ImportDType } from './llama/import.ts';
export { type RopeTables, ropeTables } from './llama/rope.ts';
export type { ModelFiles } from './model-files.ts';
