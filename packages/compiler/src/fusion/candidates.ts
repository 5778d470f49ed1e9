import type { Attributes, Node, Value } from '@quaver/ir';

/** A composite that may stand for a node and what leads to it. Whether it does is checked against its body. */
export interface Candidate {
  readonly op: string;
  readonly operands: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  /** The values that the composite's results replace, in order; undefined where the graph has no such value. */
  readonly replaces: readonly (Value | undefined)[];
}

type Producer = (value: Value) => Node | undefined;
type Proposal = (node: Node, producer: Producer, usedOnce: (value: Value) => boolean) => Candidate | undefined;

/** Proposals by the op of the pattern's last node. */
export const fusions: Readonly<Record<string, readonly Proposal[]>> = {
  quantize: [dynamicQuantize],
  divide: [silu],
  multiply: [swiglu],
  gather: [logSoftmaxGather],
};

function dynamicQuantize(node: Node, producer: Producer): Candidate | undefined {
  const [x, scale] = node.operands as [Value, Value];
  const computeScale = producer(scale);
  if (computeScale?.op !== 'compute_scale' || producer(computeScale.operands[0]!)?.op !== 'amax') return undefined;
  const { max, rounding, to: scale_dtype } = computeScale.attributes;
  const { to, block } = node.attributes;
  return {
    op: 'dynamic_quantize',
    operands: [x],
    attributes: { to: to!, block: block!, max: max!, rounding: rounding!, scale_dtype: scale_dtype! },
    replaces: [node.results[0], scale],
  };
}

function silu(node: Node): Candidate {
  return { op: 'silu', operands: [node.operands[0]], attributes: {}, replaces: node.results };
}

function swiglu(node: Node, producer: Producer): Candidate | undefined {
  const [lhs, rhs] = node.operands as [Value, Value];
  const gated = [lhs, rhs].find((value) => producer(value)?.op === 'silu');
  if (!gated) return undefined;
  const up = gated === lhs ? rhs : lhs;
  return { op: 'swiglu', operands: [producer(gated)!.operands[0], up], attributes: {}, replaces: node.results };
}

/** Only when nobody else reads the log-probabilities: they would be computed twice. */
function logSoftmaxGather(node: Node, producer: Producer, usedOnce: (value: Value) => boolean): Candidate | undefined {
  const [logprobs, targets] = node.operands as [Value, Value];
  const logSoftmax = producer(logprobs);
  if (logSoftmax?.op !== 'log_softmax' || !usedOnce(logprobs)) return undefined;
  if (targets.type.shape.length !== logprobs.type.shape.length - 1) return undefined;
  return {
    op: 'log_softmax_gather',
    operands: [logSoftmax.operands[0], targets],
    attributes: {},
    replaces: node.results,
  };
}
