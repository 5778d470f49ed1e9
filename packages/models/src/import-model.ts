import { type Checkpoint, tokenizerFromGguf } from '@quaver/formats';
import { type Module, memoryData, type TensorData } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { type ImportDType, importLlama } from './llama/import.ts';

/** The small files beside the tensors: config.json, tokenizer.json, … What `openCheckpoint` gives as `assets`. */
export interface ImportAssets {
  readonly names: readonly string[];
  bytes(name: string): Promise<Uint8Array | undefined>;
}

type Files = ReadonlyMap<string, Uint8Array>;

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

/** Files that travel inside the module, so that it can generate text on its own. */
const travelling = [
  'tokenizer.json',
  'tokenizer_config.json',
  'generation_config.json',
  'chat_template.jinja',
  'config.json',
];

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
  const module: Module = {
    name: options.name ?? modelName(checkpoint),
    symbols: llama.symbols,
    parameters: llama.parameters,
    states: llama.states,
    functions: llama.functions,
    metadata: {
      'model.family': llama.config.family,
      'model.context': String(llama.context),
      'model.vocab_size': String(llama.config.vocabSize),
      'model.layers': String(llama.config.layers),
      'model.eos_token_ids': JSON.stringify(eosTokenIds(checkpoint, files)),
      'phase.prefill': 'generate',
      'phase.decode': 'generate',
      'phase.score': 'generate',
      'phase.logprobs': 'train',
    },
    attachments,
  };
  return { module, unused: llama.unused };
}

async function readFiles(assets: ImportAssets): Promise<Files> {
  const files = new Map<string, Uint8Array>();
  for (const name of travelling) {
    const bytes = assets.names.includes(name) ? await assets.bytes(name) : undefined;
    if (bytes) files.set(name, bytes);
  }
  return files;
}

function parseJson(files: Files, name: string, source: string): Record<string, unknown> | undefined {
  const bytes = files.get(name);
  if (!bytes) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw new QuaverError('model-json-invalid', `${source}: ${name} is not JSON: ${(cause as Error).message}`, {
      hint: 'Fetch the file again.',
      where: { file: name },
    });
  }
  throw new QuaverError('model-json-invalid', `${source}: ${name} is not a JSON object`, { where: { file: name } });
}

function modelName(checkpoint: Checkpoint): string {
  const named = checkpoint.metadata.get('general.name');
  if (typeof named === 'string' && named !== '') return named;
  const parts = checkpoint.source.split(/[\\/]/).filter((part) => part !== '');
  return parts.at(-1) ?? 'model';
}

function fileAttachments(files: Files): Map<string, TensorData> {
  const present = travelling.filter((name) => files.has(name));
  return new Map(present.map((name) => [name, memoryData(files.get(name)!)]));
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

/** Ids that end a text: the generation configuration's, else the model's; GGUF has end-of-text and end-of-turn. */
function eosTokenIds(checkpoint: Checkpoint, files: Files): number[] {
  if (checkpoint.format === 'gguf') {
    const keys = ['tokenizer.ggml.eos_token_id', 'tokenizer.ggml.eot_token_id'];
    return [...new Set(keys.map((key) => checkpoint.metadata.get(key)).filter((id) => typeof id === 'number'))];
  }
  for (const name of ['generation_config.json', 'config.json']) {
    const ids = [parseJson(files, name, checkpoint.source)?.eos_token_id].flat();
    const valid = ids.filter((id): id is number => Number.isInteger(id));
    if (valid.length > 0) return valid;
  }
  return [];
}
