/** @file Which tensors a Llama-family graph needs, what shape each has, and what GGUF calls it. */
import type { LlamaConfig } from './config.ts';

/** The embedding table; also the `lm_head` weight of models that tie the two. */
export const embeddingName = 'model.embed_tokens.weight';

/** One tensor the graph reads, by its Hugging Face name. */
export interface RequiredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Name in a GGUF file. */
  readonly gguf: string;
  /** Set for query and key projections: GGUF files of the `llama` architecture store their rows interleaved. */
  readonly rotatedHeads?: number;
}

/** Every tensor of the model, in file order. */
export function requiredTensors(config: LlamaConfig): RequiredTensor[] {
  const hidden = config.hiddenSize;
  const tensors: RequiredTensor[] = [
    { name: embeddingName, gguf: 'token_embd.weight', shape: [config.vocabSize, hidden] },
  ];
  for (let layer = 0; layer < config.layers; layer++) tensors.push(...layerTensors(config, layer));
  tensors.push({ name: 'model.norm.weight', gguf: 'output_norm.weight', shape: [hidden] });
  if (!config.tieEmbeddings) {
    tensors.push({ name: 'lm_head.weight', gguf: 'output.weight', shape: [config.vocabSize, hidden] });
  }
  return tensors;
}

function layerTensors(config: LlamaConfig, layer: number): RequiredTensor[] {
  const { hiddenSize: hidden, intermediateSize: inner, headDim } = config;
  const queries = config.heads * headDim;
  const keys = config.kvHeads * headDim;
  const at = (name: string, gguf: string, shape: readonly number[], rotatedHeads?: number): RequiredTensor => ({
    name: `model.layers.${layer}.${name}`,
    gguf: `blk.${layer}.${gguf}`,
    shape,
    ...(rotatedHeads === undefined ? {} : { rotatedHeads }),
  });
  const bias = (wanted: boolean, ...tensors: RequiredTensor[]) => (wanted ? tensors : []);
  return [
    at('input_layernorm.weight', 'attn_norm.weight', [hidden]),
    at('self_attn.q_proj.weight', 'attn_q.weight', [queries, hidden], config.heads),
    at('self_attn.k_proj.weight', 'attn_k.weight', [keys, hidden], config.kvHeads),
    at('self_attn.v_proj.weight', 'attn_v.weight', [keys, hidden]),
    at('self_attn.o_proj.weight', 'attn_output.weight', [hidden, queries]),
    ...bias(
      config.qkvBias,
      at('self_attn.q_proj.bias', 'attn_q.bias', [queries], config.heads),
      at('self_attn.k_proj.bias', 'attn_k.bias', [keys], config.kvHeads),
      at('self_attn.v_proj.bias', 'attn_v.bias', [keys]),
    ),
    ...bias(config.outputBias, at('self_attn.o_proj.bias', 'attn_output.bias', [hidden])),
    ...bias(
      config.qkNorm,
      at('self_attn.q_norm.weight', 'attn_q_norm.weight', [headDim]),
      at('self_attn.k_norm.weight', 'attn_k_norm.weight', [headDim]),
    ),
    at('post_attention_layernorm.weight', 'ffn_norm.weight', [hidden]),
    at('mlp.gate_proj.weight', 'ffn_gate.weight', [inner, hidden]),
    at('mlp.up_proj.weight', 'ffn_up.weight', [inner, hidden]),
    at('mlp.down_proj.weight', 'ffn_down.weight', [hidden, inner]),
    ...bias(
      config.mlpBias,
      at('mlp.gate_proj.bias', 'ffn_gate.bias', [inner]),
      at('mlp.up_proj.bias', 'ffn_up.bias', [inner]),
      at('mlp.down_proj.bias', 'ffn_down.bias', [hidden]),
    ),
  ];
}

/**
 * Undoes GGUF's interleaving: in its file, row 2i + j of a head is row j·(D/2) + i of the original.
 * `bytes` holds heads · D rows of equal length.
 */
export function deinterleaveRows(bytes: Uint8Array, heads: number, headDim: number): Uint8Array {
  const rowBytes = bytes.byteLength / (heads * headDim);
  const half = headDim / 2;
  const rows = new Uint8Array(bytes.byteLength);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < half; i++) {
      for (let j = 0; j < 2; j++) {
        const from = (head * headDim + 2 * i + j) * rowBytes;
        rows.set(bytes.subarray(from, from + rowBytes), (head * headDim + j * half + i) * rowBytes);
      }
    }
  }
  return rows;
}
