import type { LlamaConfig } from '@quaver/models';

const architectures = {
  llama: ['LlamaForCausalLM', 'llama'],
  mistral: ['MistralForCausalLM', 'mistral'],
  qwen2: ['Qwen2ForCausalLM', 'qwen2'],
  qwen3: ['Qwen3ForCausalLM', 'qwen3'],
} as const;

/** A `config.json`, as transformers reads it. */
export type HuggingFaceConfig = Readonly<Record<string, string | number | boolean | null | readonly string[] | object>>;

/**
 * The `config.json` of a model whose checkpoint brought none; undefined where that file could not say all of it.
 * `llamaConfigFromHuggingFace` of the result is the configuration again.
 */
export function huggingFaceConfig(config: LlamaConfig): HuggingFaceConfig | undefined {
  const { family, qkvBias, outputBias, slidingWindow } = config;
  const windowed = slidingWindow.find((window) => window > 0);
  const impliedBias = family === 'qwen2';
  if (windowed !== undefined && (family !== 'mistral' || slidingWindow.some((window) => window !== windowed))) {
    return undefined;
  }
  if (impliedBias ? !qkvBias || outputBias : qkvBias !== outputBias) return undefined;
  const [architecture, type] = architectures[family];
  return {
    architectures: [architecture],
    model_type: type,
    hidden_act: 'silu',
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    rope_scaling: ropeScaling(config),
    max_position_embeddings: config.maxPosition,
    tie_word_embeddings: config.tieEmbeddings,
    attention_bias: qkvBias,
    mlp_bias: config.mlpBias,
    sliding_window: windowed ?? null,
    torch_dtype: 'bfloat16',
  };
}

function ropeScaling({ ropeScaling: scaling }: LlamaConfig): object | null {
  switch (scaling.type) {
    case 'none':
      return null;
    case 'linear':
      return { rope_type: 'linear', factor: scaling.factor };
    case 'llama3':
      return {
        rope_type: 'llama3',
        factor: scaling.factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPosition,
      };
  }
}
