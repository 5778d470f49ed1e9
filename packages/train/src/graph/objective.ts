import type { GraphBuilder, Value } from '@quaver/ir';

/** What an objective may read of a forward pass over rows of tokens. */
export interface ObjectiveValues {
  /** f32 [B,T]: the log-probability of each target, in nats. */
  readonly logprobs: Value;
  /** f32 [B,T]: how much each target counts; 0 where it does not. */
  readonly weights: Value;
  /** f32 [B,T,V]: what the softmax over the vocabulary is taken of. */
  readonly logits: Value;
  /** f32 [B,T] each: the objective's own {@link Objective.inputs}, by name. */
  readonly inputs: Readonly<Record<string, Value>>;
}

/** A loss as nodes; it is differentiated before the recipe is applied. */
export interface Objective {
  /** Names of inputs of `loss` and `backward` besides those that every loss has; each is f32 [B,T]. */
  readonly inputs: readonly string[];
  /** Appends the nodes of the loss, f32 []: a sum over the tokens, so that those of micro-batches add up. */
  loss(g: GraphBuilder, values: ObjectiveValues): Value;
}
