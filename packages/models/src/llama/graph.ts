/**
 * @file The Llama family as one module with four functions over one set of parameters:
 *   prefill(tokens[B,T], position[B], last[B]) → logits[B,V], logprobs[B,V]            writes the KV cache
 *   decode(tokens[B,1], position[B])           → logits[B,V], logprobs[B,V]            writes the KV cache
 *   score(tokens[B,T], targets[B,T], position[B]) → logprobs[B,T]                      writes the KV cache
 *   logprobs(tokens[B,T], targets[B,T])        → logprobs[B,T]                         whole sequences, no cache
 * `position[b]` is how many tokens of sequence b the cache already holds. All values are f32: precision is the
 * compiler's business.
 */
import {
  type Dim,
  GraphBuilder,
  type GraphFunction,
  type Module,
  type Parameter,
  type StateVariable,
  type SymbolicDim,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { LlamaConfig } from './config.ts';
import { embeddingName } from './tensors.ts';

/** Finds a parameter of the module by name. */
type ParameterLookup = (name: string) => Parameter;

export const ropeCosName = 'model.rope.cos';
export const ropeSinName = 'model.rope.sin';

/** The graph with its parameters and states; the caller adds a name, tokenizer files and metadata. */
export interface LlamaGraph extends Pick<Module, 'symbols' | 'parameters' | 'states' | 'functions'> {
  readonly config: LlamaConfig;
  /** Positions that it supports. */
  readonly context: number;
}

/** @param parameters what `requiredTensors` names, and the RoPE tables */
export function llamaGraph(config: LlamaConfig, context: number, parameters: readonly Parameter[]): LlamaGraph {
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  return {
    config,
    context,
    symbols: llamaSymbols(context),
    parameters,
    states: llamaStates(config),
    functions: llamaFunctions(config, (name) => byName.get(name)!),
  };
}

/**
 * Positions that a module supports: what is wanted, at most what the model was made for.
 * @throws QuaverError `model-context-invalid`
 */
export function llamaContext(config: LlamaConfig, wanted: number | undefined): number {
  const context = Math.min(wanted ?? config.maxPosition, config.maxPosition);
  if (Number.isInteger(context) && context > 0) return context;
  throw new QuaverError('model-context-invalid', `a context of ${context} positions`, {
    hint: 'Give a positive integer.',
  });
}

/** B sequences, T new tokens each, C positions of cache. */
export function llamaSymbols(context: number): SymbolicDim[] {
  return [
    { name: 'B', min: 1, max: Number.POSITIVE_INFINITY, multiple: 1 },
    { name: 'T', min: 1, max: context, multiple: 1 },
    { name: 'C', min: 1, max: context, multiple: 1 },
  ];
}

/** The KV cache: keys and values per layer, [B, C, kvHeads, headDim]. */
export function llamaStates(config: LlamaConfig): StateVariable[] {
  return Array.from({ length: config.layers }, (_, layer) => [
    cacheState(config, layer, 'k'),
    cacheState(config, layer, 'v'),
  ]).flat();
}

function cacheState(config: LlamaConfig, layer: number, which: 'k' | 'v'): StateVariable {
  return {
    name: `model.layers.${layer}.self_attn.${which}_cache`,
    type: { dtype: 'f32', shape: ['B', 'C', config.kvHeads, config.headDim] },
  };
}

export function llamaFunctions(config: LlamaConfig, parameters: ParameterLookup): GraphFunction[] {
  return [
    nextTokenFunction('prefill', 'T', config, parameters),
    nextTokenFunction('decode', 1, config, parameters),
    scoreFunction('score', config, parameters),
    scoreFunction('logprobs', config, parameters),
  ];
}

function nextTokenFunction(name: string, steps: Dim, config: LlamaConfig, parameters: ParameterLookup): GraphFunction {
  const layers = new LlamaLayers(name, config, parameters);
  const { g } = layers;
  const tokens = g.input('tokens', 'i32', ['B', steps]);
  const position = g.input('position', 'i32', ['B']);
  let hidden = layers.hidden(tokens, position, true);
  if (steps !== 1) {
    const last = g.op('reshape', [g.input('last', 'i32', ['B'])], { shape: ['B', 1] });
    hidden = g.op('gather', [hidden, last], { axis: 1, batch_dims: 1 }, { name: 'last_hidden' });
  }
  const logits = g.op('reshape', [layers.logits(hidden)], { shape: ['B', config.vocabSize] }, { name: 'logits' });
  g.output('logits', logits);
  g.output('logprobs', g.op('log_softmax', [logits], { axis: 1 }, { name: 'logprobs' }));
  return g.finish();
}

function scoreFunction(name: 'score' | 'logprobs', config: LlamaConfig, parameters: ParameterLookup): GraphFunction {
  const layers = new LlamaLayers(name, config, parameters);
  const { g } = layers;
  const tokens = g.input('tokens', 'i32', ['B', 'T']);
  const targets = g.input('targets', 'i32', ['B', 'T']);
  const cached = name === 'score';
  const position = cached ? g.input('position', 'i32', ['B']) : g.constant(0, 'i32', ['B']);
  const logits = layers.logits(layers.hidden(tokens, position, cached));
  g.output('logprobs', g.op('log_softmax_gather', [logits, targets], {}, { name: 'logprobs' }));
  return g.finish();
}

/** Builds the layers of one function. */
class LlamaLayers {
  readonly g: GraphBuilder;
  readonly #config: LlamaConfig;
  readonly #parameters: ParameterLookup;

  constructor(name: string, config: LlamaConfig, parameters: ParameterLookup) {
    this.g = new GraphBuilder(name);
    this.#config = config;
    this.#parameters = parameters;
  }

  /** tokens [B,T] → hidden states [B,T,H] before the final norm. */
  hidden(tokens: Value, position: Value, cached: boolean): Value {
    const { g } = this;
    return g.scope('model', () => {
      let x = g.scope('embed_tokens', () =>
        g.convert(g.op('gather', [this.#parameter(embeddingName), tokens], { axis: 0 }), 'f32'),
      );
      for (let layer = 0; layer < this.#config.layers; layer++) {
        x = g.scope(`layers.${layer}`, () => this.#layer(x, position, layer, cached));
      }
      return x;
    });
  }

  /** hidden states [B,T,H] → logits [B,T,V]. */
  logits(hidden: Value): Value {
    const normed = this.g.scope('model', () => this.#norm(hidden, 'model.norm.weight'));
    return this.g.scope('lm_head', () => {
      const name = this.#config.tieEmbeddings ? embeddingName : 'lm_head.weight';
      return this.#matmul(normed, this.#weight(name));
    });
  }

  #layer(x: Value, position: Value, layer: number, cached: boolean): Value {
    const { g } = this;
    const prefix = `model.layers.${layer}`;
    const attended = g.scope('self_attn', () =>
      this.#attention(this.#norm(x, `${prefix}.input_layernorm.weight`), position, layer, cached),
    );
    const h = g.op('add', [x, attended]);
    const mlp = g.scope('mlp', () => {
      const y = this.#norm(h, `${prefix}.post_attention_layernorm.weight`);
      const { mlpBias } = this.#config;
      const gate = this.#linear(y, `${prefix}.mlp.gate_proj`, mlpBias);
      const up = this.#linear(y, `${prefix}.mlp.up_proj`, mlpBias);
      return this.#linear(g.op('swiglu', [gate, up]), `${prefix}.mlp.down_proj`, mlpBias);
    });
    return g.op('add', [h, mlp]);
  }

  #attention(x: Value, position: Value, layer: number, cached: boolean): Value {
    const { g } = this;
    const config = this.#config;
    const steps = x.type.shape[1]!;
    const prefix = `model.layers.${layer}.self_attn`;
    const heads = (part: string, count: number) =>
      g.op('reshape', [this.#linear(x, `${prefix}.${part}_proj`, config.qkvBias)], {
        shape: ['B', steps, count, config.headDim],
      });
    const rotated = (part: 'q' | 'k', count: number) => {
      const projected = heads(part, count);
      const normed = config.qkNorm ? this.#norm(projected, `${prefix}.${part}_norm.weight`) : projected;
      return g.op('rope', [normed, this.#weight(ropeCosName), this.#weight(ropeSinName), position]);
    };
    const q = rotated('q', config.heads);
    const remember = (which: 'k' | 'v', value: Value) =>
      cached ? this.#remember(cacheState(config, layer, which), value, position) : value;
    const k = remember('k', rotated('k', config.kvHeads));
    const v = remember('v', heads('v', config.kvHeads));
    const mixed = g.op('attention', [q, k, v, position], {
      scale: 1 / Math.sqrt(config.headDim),
      window: config.slidingWindow[layer] ?? 0,
      probs: 'f32',
    });
    const flat = g.op('reshape', [mixed], { shape: ['B', steps, config.heads * config.headDim] });
    return this.#linear(flat, `${prefix}.o_proj`, config.outputBias);
  }

  /** Writes `value` into the cache from `position` on, and gives the whole cache. */
  #remember(state: StateVariable, value: Value, position: Value): Value {
    const { g } = this;
    const updated = g.op('dynamic_update_slice', [g.state(state), value, position], { axis: 1 });
    g.update(state, updated);
    return updated;
  }

  #norm(x: Value, weight: string): Value {
    return this.g.op('rms_norm', [x, this.#weight(weight)], { eps: this.#config.rmsNormEps });
  }

  #linear(x: Value, path: string, bias: boolean): Value {
    return this.g.scope(path.slice(path.lastIndexOf('.') + 1), () => {
      const y = this.#matmul(x, this.#weight(`${path}.weight`));
      return bias ? this.g.op('bias_add', [y, this.#weight(`${path}.bias`)]) : y;
    });
  }

  #matmul(x: Value, weight: Value): Value {
    return this.g.op('dot_general', [x, weight], { lhs_contract: [2], rhs_contract: [1] });
  }

  #parameter(name: string): Value {
    return this.g.parameter(this.#parameters(name));
  }

  /** The parameter as f32, whatever the checkpoint stores: FP8 codes come with the scales that restore them. */
  #weight(name: string): Value {
    const { g } = this;
    const value = this.#parameter(name);
    if (value.type.dtype !== 'f8e4m3fn' && value.type.dtype !== 'f8e5m2') return g.convert(value, 'f32');
    const scale = this.#parameter(`${name}_scale_inv`);
    return g.op('dequantize', [value, scale], { to: 'f32', block: [128, 128] });
  }
}
