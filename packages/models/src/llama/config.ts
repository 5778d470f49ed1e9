import { QuaverError } from '@quaver/numerics';

/** How positions are rotated beyond the plain inverse frequencies. */
export type RopeScaling =
  | { readonly type: 'none' }
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPosition: number;
    };

/** The families that one graph builder covers; they differ by biases, QK norm and the attention window. */
export type LlamaFamily = 'llama' | 'mistral' | 'qwen2' | 'qwen3';

/** Everything that the graph of a Llama-family model depends on. */
export interface LlamaConfig {
  readonly family: LlamaFamily;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  readonly maxPosition: number;
  readonly tieEmbeddings: boolean;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly qkNorm: boolean;
  /** Keys a query sees, itself included, per layer; 0 sees all. */
  readonly slidingWindow: readonly number[];
}

type Json = Readonly<Record<string, unknown>>;

const families: Readonly<Record<string, LlamaFamily>> = {
  LlamaForCausalLM: 'llama',
  MistralForCausalLM: 'mistral',
  Qwen2ForCausalLM: 'qwen2',
  Qwen3ForCausalLM: 'qwen3',
};

/**
 * Reads a Hugging Face `config.json`.
 * @throws QuaverError `model-architecture-unsupported`, `model-config-invalid`, `model-rope-scaling-unsupported`
 */
export function llamaConfigFromHuggingFace(config: Json, source: string): LlamaConfig {
  const architecture = Array.isArray(config.architectures)
    ? String(config.architectures[0])
    : String(config.model_type);
  const family = families[architecture] ?? Object.values(families).find((name) => name === config.model_type);
  if (!family) throw unsupportedArchitecture(architecture, source);
  if (config.hidden_act !== undefined && config.hidden_act !== 'silu') {
    throw invalid(source, 'hidden_act', String(config.hidden_act), 'silu');
  }
  for (const values of [config, config.rope_parameters, config.rope_scaling]) {
    const factor = (values as Json | null | undefined)?.partial_rotary_factor ?? 1;
    if (factor !== 1) throw invalid(source, 'partial_rotary_factor', String(factor), '1: all of a head is rotated');
  }
  const read = new NumberReader(config, source);
  const hiddenSize = read.integer('hidden_size');
  const heads = read.integer('num_attention_heads');
  const layers = read.integer('num_hidden_layers');
  return checked(
    {
      family,
      vocabSize: read.integer('vocab_size'),
      hiddenSize,
      intermediateSize: read.integer('intermediate_size'),
      layers,
      heads,
      kvHeads: read.integer('num_key_value_heads', heads),
      headDim: read.integer('head_dim', Math.floor(hiddenSize / heads)),
      rmsNormEps: read.positive('rms_norm_eps', 1e-6),
      ropeTheta: ropeTheta(config, read),
      ropeScaling: ropeScaling(ropeParameters(config), source),
      maxPosition: read.integer('max_position_embeddings', 2048),
      tieEmbeddings: config.tie_word_embeddings === true,
      qkvBias: family === 'qwen2' || config.attention_bias === true,
      outputBias: family !== 'qwen2' && config.attention_bias === true,
      mlpBias: config.mlp_bias === true,
      qkNorm: family === 'qwen3',
      slidingWindow: slidingWindows(config, family, layers, read),
    },
    source,
  );
}

/** Newer configurations keep RoPE's numbers in `rope_parameters`, older ones in `rope_scaling` and `rope_theta`. */
function ropeParameters(config: Json): Json | undefined {
  const value = config.rope_parameters ?? config.rope_scaling;
  return typeof value === 'object' && value !== null ? (value as Json) : undefined;
}

function ropeTheta(config: Json, read: NumberReader): number {
  const nested = (config.rope_parameters as Json | undefined)?.rope_theta;
  return typeof nested === 'number' ? nested : read.positive('rope_theta', 10000);
}

function slidingWindows(config: Json, family: LlamaFamily, layers: number, read: NumberReader): number[] {
  const inUse = family === 'mistral' ? typeof config.sliding_window === 'number' : config.use_sliding_window === true;
  if (!inUse) return Array.from({ length: layers }, () => 0);
  const window = read.integer('sliding_window');
  const kinds = Array.isArray(config.layer_types) ? config.layer_types : undefined;
  const firstWindowed = family === 'mistral' ? 0 : read.integerOrZero('max_window_layers', layers);
  return Array.from({ length: layers }, (_, layer) =>
    (kinds ? kinds[layer] === 'sliding_attention' : layer >= firstWindowed) ? window : 0,
  );
}

function ropeScaling(value: Json | undefined, source: string): RopeScaling {
  const type = value?.rope_type ?? value?.type ?? 'default';
  if (value === undefined || type === 'default') return { type: 'none' };
  const read = new NumberReader(value, source);
  if (type === 'linear') return { type: 'linear', factor: read.positive('factor') };
  if (type === 'llama3') {
    return {
      type: 'llama3',
      factor: read.positive('factor'),
      lowFreqFactor: read.positive('low_freq_factor'),
      highFreqFactor: read.positive('high_freq_factor'),
      originalMaxPosition: read.integer('original_max_position_embeddings'),
    };
  }
  throw new QuaverError('model-rope-scaling-unsupported', `${source}: RoPE scaling of type '${String(type)}'`, {
    hint: 'Supported are default, linear and llama3.',
    where: { file: source },
  });
}

/**
 * Reads GGUF metadata. RoPE factors of Llama 3 come as a tensor there, so `ropeScaling` covers only what metadata says.
 * @throws QuaverError as {@link llamaConfigFromHuggingFace}
 */
export function llamaConfigFromGguf(metadata: Json, has: (tensor: string) => boolean, source: string): LlamaConfig {
  const architecture = String(metadata['general.architecture']);
  if (architecture !== 'llama' && architecture !== 'qwen2' && architecture !== 'qwen3') {
    throw unsupportedArchitecture(architecture, source);
  }
  const read = new NumberReader(metadata, source);
  const key = (name: string) => `${architecture}.${name}`;
  const heads = read.integer(key('attention.head_count'));
  const hiddenSize = read.integer(key('embedding_length'));
  const layers = read.integer(key('block_count'));
  const tokens = metadata['tokenizer.ggml.tokens'];
  const window = read.integerOrZero(key('attention.sliding_window'), 0);
  const scaling = metadata[key('rope.scaling.type')];
  const headDim = read.integer(key('attention.key_length'), Math.floor(hiddenSize / heads));
  for (const name of [key('attention.value_length'), key('rope.dimension_count')]) {
    const found = read.integer(name, headDim);
    if (found !== headDim) throw invalid(source, name, String(found), `${headDim}, the head dimension`);
  }
  return checked(
    {
      family: architecture,
      vocabSize: read.integer(key('vocab_size'), Array.isArray(tokens) ? tokens.length : undefined),
      hiddenSize,
      intermediateSize: read.integer(key('feed_forward_length')),
      layers,
      heads,
      kvHeads: read.integer(key('attention.head_count_kv'), heads),
      headDim,
      rmsNormEps: read.positive(key('attention.layer_norm_rms_epsilon')),
      ropeTheta: read.positive(key('rope.freq_base'), 10000),
      ropeScaling: ropeScaling(
        scaling === undefined || scaling === 'none'
          ? undefined
          : { type: scaling, factor: metadata[key('rope.scaling.factor')] },
        source,
      ),
      maxPosition: read.integer(key('context_length')),
      tieEmbeddings: !has('output.weight'),
      qkvBias: has('blk.0.attn_q.bias'),
      outputBias: has('blk.0.attn_output.bias'),
      mlpBias: has('blk.0.ffn_gate.bias'),
      qkNorm: has('blk.0.attn_q_norm.weight'),
      slidingWindow: Array.from({ length: layers }, () => window),
    },
    source,
  );
}

/** A million of anything here is a forged file, not a model: the graph would not fit in memory. */
const sizeLimit = 1_000_000;

function checked(config: LlamaConfig, source: string): LlamaConfig {
  if (config.layers > 1000) throw invalid(source, 'the number of layers', String(config.layers), 'at most 1000');
  if (config.heads % config.kvHeads !== 0) {
    throw invalid(source, 'the number of key/value heads', String(config.kvHeads), `a divisor of ${config.heads}`);
  }
  if (config.headDim % 2 !== 0) throw invalid(source, 'the head dimension', String(config.headDim), 'an even number');
  return config;
}

class NumberReader {
  readonly #values: Json;
  readonly #source: string;

  constructor(values: Json, source: string) {
    this.#values = values;
    this.#source = source;
  }

  integer(key: string, fallback?: number): number {
    const value = this.integerOrZero(key, fallback);
    if (value < 1) throw invalid(this.#source, key, String(value), 'a positive integer');
    return value;
  }

  integerOrZero(key: string, fallback?: number): number {
    const value = Number(this.#present(key, fallback));
    const limit = key.endsWith('position_embeddings') || key.endsWith('context_length') ? 64 * sizeLimit : sizeLimit;
    if (!Number.isInteger(value) || value < 0 || value > limit) {
      throw invalid(this.#source, key, String(this.#values[key]), `an integer up to ${limit}`);
    }
    return value;
  }

  positive(key: string, fallback?: number): number {
    const value = Number(this.#present(key, fallback));
    if (!(value > 0 && Number.isFinite(value))) {
      throw invalid(this.#source, key, String(this.#values[key]), 'a positive number');
    }
    return value;
  }

  #present(key: string, fallback: number | undefined): unknown {
    const value = this.#values[key] ?? fallback;
    if (value === undefined) throw invalid(this.#source, key, 'missing', 'a number');
    return value;
  }
}

export function invalid(source: string, key: string, found: string, expected: string): QuaverError {
  return new QuaverError('model-config-invalid', `${source}: ${key} is ${found}, expected ${expected}`, {
    hint: 'The configuration is damaged, or belongs to a model family that Quaver does not know.',
    where: { file: source, key },
  });
}

function unsupportedArchitecture(architecture: string, source: string): QuaverError {
  return new QuaverError('model-architecture-unsupported', `${source}: unsupported architecture '${architecture}'`, {
    hint: `Supported are ${Object.keys(families).join(', ')}, and GGUF files of llama, qwen2 and qwen3.`,
    where: { file: source, architecture },
  });
}
