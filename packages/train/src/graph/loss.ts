import {
  FunctionRewriter,
  findFunction,
  GraphBuilder,
  type GraphFunction,
  type Module,
  multiplyDims,
  type Node,
  type TensorType,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { Objective } from './objective.ts';

/**
 * The function `loss(tokens[B,T], targets[B,T], weights[B,T], position[B,T], first_key[B,T]) → (logprobs[B,T], loss[])` of a
 * language model, made of its `logprobs`; the objective's own inputs, [B,T] each, come after those. The loss is a sum over
 * tokens: those of several calls add up.
 *
 * A row may hold several sequences, one after another: `position` counts from the beginning of a token's own sequence, and
 * `first_key` is where in the row that sequence begins. Sequences that begin at multiples of 128 have the bits that they have alone.
 * @throws QuaverError `module-not-a-language-model`, `rewrite-name` for an input of the objective that has a taken name
 */
export function lossFunction(module: Module, objective: Objective = crossEntropy): GraphFunction {
  const { source, logprobs, logits } = findLogprobs(module);
  const rewriter = new FunctionRewriter({ ...source, name: 'loss' });
  const weights = rewriter.input('weights', logprobs.type);
  const perToken: TensorType = { dtype: 'i32', shape: logprobs.type.shape };
  const packing: Packing = {
    position: rewriter.input('position', perToken),
    firstKey: rewriter.input('first_key', perToken),
  };
  const inputs = Object.fromEntries(objective.inputs.map((name) => [name, rewriter.input(name, logprobs.type)]));
  for (const node of source.nodes) keepPacked(rewriter, node, packing);
  const g = new GraphBuilder('loss');
  const resolved = { logprobs: rewriter.resolve(logprobs), logits: rewriter.resolve(logits), weights, inputs };
  const loss = g.scope('loss', () => objective.loss(g, resolved));
  for (const node of g.nodes) rewriter.append(node);
  rewriter.output('loss', loss);
  return rewriter.finish();
}

/** Σ -weight · log p(target). Weights of 1/N on the N tokens that count give their mean. */
export const crossEntropy: Objective = {
  inputs: [],
  loss: (g, { logprobs, weights }) => g.op('negate', [sumOverTokens(g, g.op('multiply', [logprobs, weights]))]),
};

/** The sum of f32 [B,T], f32 []. */
export function sumOverTokens(g: GraphBuilder, x: Value): Value {
  const flat = g.op('reshape', [x], { shape: [multiplyDims(...x.type.shape)] });
  return g.op('reduce', [flat], { kind: 'sum', axes: [0] });
}

function findLogprobs(module: Module): {
  readonly source: GraphFunction;
  readonly logprobs: Value;
  readonly logits: Value;
} {
  const source = findFunction(module, 'logprobs');
  const logprobs = source?.outputs.find(({ name }) => name === 'logprobs')?.value;
  const last = source?.nodes.find(({ results }) => results[0] === logprobs);
  const logits = last?.op === 'log_softmax_gather' ? last.operands[0] : undefined;
  if (source && logprobs && logits) return { source, logprobs, logits };
  throw new QuaverError('module-not-a-language-model', `module '${module.name}' has no function 'logprobs'`, {
    hint: 'Import a language model; its functions are listed by `quaver inspect`.',
    where: { module: module.name },
  });
}

interface Packing {
  readonly position: Value;
  readonly firstKey: Value;
}

/** Rotary embeddings count from the beginning of each sequence, and attention sees no other one. */
function keepPacked(rewriter: FunctionRewriter, node: Node, { position, firstKey }: Packing): void {
  const replaced = packedOperands(node, position, firstKey);
  if (!replaced) {
    rewriter.keep(node);
    return;
  }
  rewriter.drop(node);
  rewriter.replace(node.results[0]!, rewriter.op(node.op, replaced, node.attributes, node));
}

function packedOperands(
  { op, operands }: Node,
  position: Value,
  firstKey: Value,
): readonly (Value | undefined)[] | undefined {
  if (op === 'rope') return [...operands.slice(0, 3), position];
  if (op !== 'attention') return undefined;
  const [q, k, v, at, keyScale, valueScale] = operands;
  return [q, k, v, at, keyScale, valueScale, firstKey];
}
