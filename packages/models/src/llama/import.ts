import type { Checkpoint, CheckpointTensor } from '@quaver/formats';
import { type DType, isDType, type Parameter } from '@quaver/ir';
import { bf16, f16, QuaverError } from '@quaver/numerics';
import { type LlamaConfig, llamaConfigFromGguf, llamaConfigFromHuggingFace } from './config.ts';
import { type LlamaGraph, llamaContext, llamaGraph } from './graph.ts';
import { asBytes, parameter, ropeParameters } from './parameters.ts';
import { deinterleaveRows, embeddingName, type RequiredTensor, requiredTensors } from './tensors.ts';

/** How parameters are stored: as the checkpoint has them (block-quantized GGUF becomes f32), or all in one type. */
export type ImportDType = 'auto' | 'f32' | 'bf16';

export interface LlamaImport {
  readonly checkpoint: Checkpoint;
  /** The parsed config.json; GGUF carries its own. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly dtype: ImportDType;
  /** Positions the module supports, at most what the model was made for. */
  readonly context?: number;
}

export interface ImportedLlama extends LlamaGraph {
  /** Tensors of the checkpoint that the graph does not use. */
  readonly unused: readonly string[];
}

/**
 * Builds the module of a Llama-family checkpoint. Tensor bytes are read when they are asked for.
 * @throws QuaverError `model-tensor-missing`, `model-tensor-shape`, `model-tensor-dtype`, `model-context-invalid`, and
 *   those of the configuration readers
 */
export function importLlama(options: LlamaImport): ImportedLlama {
  const { checkpoint } = options;
  const config = readConfig(options);
  const context = llamaContext(config, options.context);
  const used = new Set<string>();
  const parameters: Parameter[] = [];
  for (const tensor of requiredTensors(config)) {
    const found = findTensor(checkpoint, tensor);
    used.add(found.name);
    parameters.push(...readParameters(checkpoint, tensor, found, options.dtype, config));
  }
  parameters.push(...ropeParameters(config, context, ropeFactors(checkpoint)));
  used.add('rope_freqs.weight');
  return {
    ...llamaGraph(config, context, parameters),
    unused: [...checkpoint.tensors.keys()].filter((name) => !used.has(name) && !name.endsWith('rotary_emb.inv_freq')),
  };
}

function readConfig({ checkpoint, config }: LlamaImport): LlamaConfig {
  const { source } = checkpoint;
  const has = (name: string) => checkpoint.tensors.has(name);
  if (checkpoint.format === 'gguf') return llamaConfigFromGguf(Object.fromEntries(checkpoint.metadata), has, source);
  if (config) {
    const read = llamaConfigFromHuggingFace(config, source);
    // The configuration may leave the default unsaid; the tensors say which it is.
    return config.tie_word_embeddings === undefined ? { ...read, tieEmbeddings: !has('lm_head.weight') } : read;
  }
  throw new QuaverError('model-config-missing', `${source}: no config.json beside the tensors`, {
    hint: 'Import the folder that holds config.json, the safetensors files and tokenizer.json.',
    where: { file: source },
  });
}

function findTensor(checkpoint: Checkpoint, tensor: RequiredTensor): CheckpointTensor {
  const name = checkpoint.format === 'gguf' ? tensor.gguf : tensor.name;
  const found = checkpoint.tensors.get(name);
  const where = { file: checkpoint.source, tensor: name };
  if (!found) {
    throw new QuaverError('model-tensor-missing', `${checkpoint.source}: tensor '${name}' is missing`, {
      hint: `Expected it with shape [${tensor.shape}]. Is the checkpoint complete, and of the architecture it names?`,
      where,
    });
  }
  if (found.shape.join() !== tensor.shape.join()) {
    throw new QuaverError(
      'model-tensor-shape',
      `${checkpoint.source}: tensor '${name}' has shape [${found.shape}], expected [${tensor.shape}]`,
      { hint: 'The configuration does not describe these tensors.', where },
    );
  }
  return found;
}

function readParameters(
  checkpoint: Checkpoint,
  tensor: RequiredTensor,
  found: CheckpointTensor,
  wanted: ImportDType,
  config: LlamaConfig,
): Parameter[] {
  const { name, shape } = tensor;
  const { fp8 } = found;
  // Rows of the embedding table are gathered, and a gathered row is no longer in the blocks its scales are for.
  if (fp8 && wanted === 'auto' && name !== embeddingName && fp8.blockShape.join() === '128,128') {
    const scaleBytes = async (signal?: AbortSignal) => asBytes(await fp8.readScale(signal));
    return [
      parameter(name, fp8.dtype, shape, (signal) => fp8.readCodes(signal)),
      parameter(`${name}_scale_inv`, 'f32', fp8.scaleShape, scaleBytes),
    ];
  }
  const dtype = wanted === 'auto' ? storedDType(checkpoint, found) : wanted;
  const interleaved = checkpoint.format === 'gguf' && config.family === 'llama' ? tensor.rotatedHeads : undefined;
  return [
    parameter(name, dtype, shape, async (signal) => {
      const bytes = convertBytes(await found.read(signal), found.dtype, dtype, checkpoint.source, found.name);
      return interleaved === undefined ? bytes : deinterleaveRows(bytes, interleaved, config.headDim);
    }),
  ];
}

function storedDType(checkpoint: Checkpoint, tensor: CheckpointTensor): DType {
  if (tensor.dtype === 'f64') return 'f32';
  if (isDType(tensor.dtype) && (tensor.dtype === 'f32' || tensor.dtype === 'bf16' || tensor.dtype === 'f16')) {
    return tensor.dtype;
  }
  throw unusableDType(checkpoint.source, tensor.name, tensor.dtype);
}

function unusableDType(file: string, tensor: string, dtype: string): QuaverError {
  return new QuaverError('model-tensor-dtype', `${file}: tensor '${tensor}' holds ${dtype}, not weights`, {
    hint: 'Weights are expected as F64, F32, F16, BF16, or FP8 with block scales.',
    where: { file, tensor },
  });
}

/** Converts weights between storage types; round to nearest even. */
function convertBytes(bytes: Uint8Array, from: string, to: DType, file: string, tensor: string): Uint8Array {
  if (from === to) return bytes;
  const values = toFloat32(bytes, from);
  if (!values) throw unusableDType(file, tensor, from);
  if (to === 'f32') return asBytes(values);
  const codes = new Uint16Array(values.length);
  bf16.encodeInto(values, codes);
  return asBytes(codes);
}

function toFloat32(bytes: Uint8Array, from: string): Float32Array | undefined {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  if (from === 'f32') return new Float32Array(buffer, byteOffset, byteLength / 4);
  if (from === 'f64') return Float32Array.from(new Float64Array(buffer, byteOffset, byteLength / 8));
  if (from !== 'bf16' && from !== 'f16') return undefined;
  const values = new Float32Array(byteLength / 2);
  (from === 'bf16' ? bf16 : f16).decodeInto(new Uint16Array(buffer, byteOffset, byteLength / 2), values);
  return values;
}

/** GGUF has the factors that divide RoPE's frequencies as a tensor. */
function ropeFactors({ format, tensors }: Checkpoint): (() => Promise<Float32Array | undefined>) | undefined {
  const found = format === 'gguf' ? tensors.get('rope_freqs.weight') : undefined;
  return found && (async () => toFloat32(await found.read(), found.dtype));
}
