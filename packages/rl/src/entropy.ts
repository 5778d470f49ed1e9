import type { GraphBuilder, Value } from '@quaver/ir';
import { multiply } from './objective/arithmetic.ts';

/**
 * The entropy of the softmax over the vocabulary, −Σ p log p in nats: from all logits, not from samples. [B,T,V] →
 * [B,T].
 */
export function entropy(g: GraphBuilder, logits: Value): Value {
  const axis = logits.type.shape.length - 1;
  const logprobs = g.op('log_softmax', [logits], { axis });
  const terms = multiply(g, g.op('exp', [logprobs]), logprobs);
  return g.op('negate', [g.op('reduce', [terms], { kind: 'sum', axes: [axis] })]);
}
