/**
 * The design of the model, as a `config.json`: 2.5 million parameters. Every matrix has sides that are multiples of 128, so
 * that 128×128 blocks with FP8 scales fill them.
 */
export const modelConfig: Readonly<Record<string, unknown>> = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 384,
  hidden_size: 256,
  intermediate_size: 512,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  hidden_act: 'silu',
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  initializer_range: 0.02,
  eos_token_id: 0,
  pad_token_id: 3,
};
