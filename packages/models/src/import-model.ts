import { type Checkpoint, tokenizerFromGguf } from '@quaver/formats';
import { type Module, memoryData, type TensorData } from '@quaver/ir';
import { languageModule } from './language-module.ts';
import { type ImportDType, importLlama } from './llama/import.ts';
import { eosTokenIds, fileAttachments, type ModelFiles, modelFileNames, parseJson } from './model-files.ts';

/** The small files beside the tensors: config.json, tokenizer.json, … What `openCheckpoint` gives as `assets`. */
export interface ImportAssets {
  readonly names: readonly string[];
  bytes(name: string): Promise<Uint8Array | undefined>;
}

export interface ImportOptions {
  readonly name?: string;
  readonly dtype?: ImportDType;
  readonly context?: number;
}

export interface ImportResult {
  readonly module: Module;
  /** Tensors of the checkpoint that the graph does not use. */
  readonly unused: readonly string[];
}

/**
 * A checkpoint as a module: graph, parameters (read lazily), tokenizer and metadata.
 * @throws QuaverError `model-…` codes that name the file and tensor
 */
export async function importModel(
  checkpoint: Checkpoint,
  assets: ImportAssets,
  options: ImportOptions = {},
): Promise<ImportResult> {
  const files = await readFiles(assets);
  const config = parseJson(files, 'config.json', checkpoint.source);
  const { dtype = 'auto', context } = options;
  const llama = importLlama({
    checkpoint,
    dtype,
    ...(config ? { config } : {}),
    ...(context === undefined ? {} : { context }),
  });
  const attachments = checkpoint.format === 'gguf' ? ggufAttachments(checkpoint) : fileAttachments(files);
  const module = languageModule(llama, {
    name: options.name ?? modelName(checkpoint),
    eosTokenIds: checkpoint.format === 'gguf' ? ggufEosTokenIds(checkpoint) : eosTokenIds(files, checkpoint.source),
    attachments,
  });
  return { module, unused: llama.unused };
}

async function readFiles(assets: ImportAssets): Promise<ModelFiles> {
  const files = new Map<string, Uint8Array>();
  for (const name of modelFileNames) {
    const bytes = assets.names.includes(name) ? await assets.bytes(name) : undefined;
    if (bytes) files.set(name, bytes);
  }
  return files;
}

function modelName(checkpoint: Checkpoint): string {
  const named = checkpoint.metadata.get('general.name');
  if (typeof named === 'string' && named !== '') return named;
  const parts = checkpoint.source.split(/[\\/]/).filter((part) => part !== '');
  return parts.at(-1) ?? 'model';
}

function ggufAttachments(checkpoint: Checkpoint): Map<string, TensorData> {
  if (!checkpoint.metadata.has('tokenizer.ggml.model')) return new Map();
  const { tokenizer, config } = tokenizerFromGguf(checkpoint.metadata);
  const json = (value: unknown) => memoryData(new TextEncoder().encode(JSON.stringify(value)));
  return new Map([
    ['tokenizer.json', json(tokenizer)],
    ['tokenizer_config.json', json(config)],
  ]);
}

/** GGUF has end-of-text and end-of-turn. */
function ggufEosTokenIds({ metadata }: Checkpoint): number[] {
  const keys = ['tokenizer.ggml.eos_token_id', 'tokenizer.ggml.eot_token_id'];
  return [...new Set(keys.map((key) => metadata.get(key)).filter((id) => typeof id === 'number'))];
}
