import path from 'node:path';
import type { Checkpoint } from '@quaver/formats';
import { openCheckpoint } from '@quaver/formats/node';
import { type Module, memoryData } from '@quaver/ir';
import { type ImportDType, importModel, llamaConfigFromGguf } from '@quaver/models';
import { huggingFaceConfig } from '../hugging-face-config.ts';
import { moduleCheckpoint } from './module-checkpoint.ts';
import { readModule } from './module-file.ts';

export interface ImportModelFileOptions {
  /** How parameters are stored; `auto` keeps what the checkpoint has (block-quantized GGUF becomes f32). */
  readonly dtype?: ImportDType;
  /** Positions the model shall support; default what it was made for. */
  readonly context?: number;
  /** Default: what GGUF metadata says, else the name of the folder or file. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

/** A module whose tensors are read from the checkpoint when they are asked for, until it is closed. */
export interface ImportedModelFile extends AsyncDisposable {
  readonly module: Module;
  /** Tensors of the checkpoint that the graph does not use. */
  readonly unused: readonly string[];
  close(): Promise<void>;
}

/**
 * Imports a checkpoint: a folder (config.json, safetensors, tokenizer.json), a `.safetensors` file with its folder, or a
 * `.gguf` file. Also a `.qvr` file: a compiled one becomes a module that is not compiled, with the weights that the recipe made.
 * @throws QuaverError `file-…`, `checkpoint-…`, `safetensors-…`, `gguf-…`, `hf-fp8-…`, `model-…`, and for a `.qvr` as `readModule`
 */
export async function importModelFile(file: string, options: ImportModelFileOptions = {}): Promise<ImportedModelFile> {
  if (file.endsWith('.qvr')) return importQvr(file, options);
  const { signal, ...importOptions } = options;
  const checkpoint = await openCheckpoint(file, signal ? { signal } : {});
  // GGUF names its model; of safetensors the folder or file does.
  const named = checkpoint.format === 'gguf' ? {} : { name: path.parse(path.resolve(file)).name };
  try {
    const { module, unused } = await importModel(checkpoint, checkpoint.assets, { ...named, ...importOptions });
    const close = () => checkpoint.close();
    return { module: withConfig(module, checkpoint), unused, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function importQvr(file: string, options: ImportModelFileOptions): Promise<ImportedModelFile> {
  const { signal, ...importOptions } = options;
  const read = await readModule(file, signal ? { signal } : {});
  const close = () => read.close();
  try {
    const { checkpoint, assets } = moduleCheckpoint(read, file, close);
    const context = Number(read.metadata['model.context']);
    const kept = { name: read.name, ...(context > 0 ? { context } : {}) };
    const { module, unused } = await importModel(checkpoint, assets, { ...kept, ...importOptions });
    return { module, unused, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** GGUF keeps the configuration in its metadata; as a `config.json` in the module it goes along when the model is exported. */
function withConfig(module: Module, checkpoint: Checkpoint): Module {
  const { format, metadata, tensors, source } = checkpoint;
  // Factors of RoPE that come as a tensor have no place in a config.json.
  if (format !== 'gguf' || tensors.has('rope_freqs.weight')) return module;
  const config = huggingFaceConfig(
    llamaConfigFromGguf(Object.fromEntries(metadata), (name) => tensors.has(name), source),
  );
  if (!config) return module;
  const ids = ['bos', 'eos'].map(
    (name) => [`${name}_token_id`, metadata.get(`tokenizer.ggml.${name}_token_id`)] as const,
  );
  const known = Object.fromEntries(ids.filter(([, id]) => typeof id === 'number'));
  const bytes = new TextEncoder().encode(JSON.stringify({ ...config, ...known }));
  return { ...module, attachments: new Map([...module.attachments, ['config.json', memoryData(bytes)]]) };
}
