import { llamaConfigFromHuggingFace, ropeTables } from '@quaver/models';

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: 8,
  intermediate_size: 16,
  max_position_embeddings: 32,
  num_attention_heads: 4,
  num_hidden_layers: 1,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  vocab_size: 64,
};

export default () => {
  const { headDim, ...rest } = llamaConfigFromHuggingFace(config, 'config.json');
  return { headDim, family: rest.family, cos: [...ropeTables({ headDim, ...rest }, 2).cos] };
};

/** A head of 2 has one frequency, 1: position 0 has the cosine of 0, position 1 that of 1. */
export const expected = { headDim: 2, family: 'llama', cos: [1, Math.fround(Math.cos(1))] };
