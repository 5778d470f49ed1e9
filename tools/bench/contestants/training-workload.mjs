/** @file What training is measured on: the layers of SmolLM2-135M with random weights, and 2,048 tokens. */

export const shape = { hidden: 576, layers: 30, inner: 1536, vocab: 49152, heads: 9, kv_heads: 3, head_dim: 64 };

export const huggingFaceConfig = {
  architectures: ['LlamaForCausalLM'],
  vocab_size: shape.vocab,
  hidden_size: shape.hidden,
  intermediate_size: shape.inner,
  num_hidden_layers: shape.layers,
  num_attention_heads: shape.heads,
  num_key_value_heads: shape.kv_heads,
  head_dim: shape.head_dim,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
};

/** Rows of the batch, and the tokens of a row: jax_train.py takes the same. */
export const batch = { rows: 4, tokens: 512 };
export const tokens = batch.rows * batch.tokens;

/** f32 operations of the products with weights in one step: forward, and twice that backward; attention is left out. */
export const productOperations = (() => {
  const { hidden, layers, inner, vocab, heads, kv_heads, head_dim } = shape;
  const layer = hidden * head_dim * (2 * heads + 2 * kv_heads) + 3 * hidden * inner;
  return 6 * tokens * (layers * layer + hidden * vocab);
})();

/** The same ids for everybody. */
export const id = (i) => (i * 7919 + 13) % (shape.vocab - 3);
