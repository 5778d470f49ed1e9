import {
  FunctionRewriter,
  findFunction,
  type GraphFunction,
  type Module,
  multiplyDims,
  type Node,
  type TensorType,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/**
 * The function `loss(tokens[B,T], targets[B,T], weights[B,T], position[B,T], first_key[B,T]) → (logprobs[B,T], loss[])` of a
 * language model, made of its `logprobs`: the sum of -weight * log p(target).
 *
 * Weights of 1/N on the N tokens that count give their mean, also when the N tokens are spread over several calls; tokens that
 * do not count have weight 0. A row may hold several sequences, one after another: `position` counts from the beginning of a
 * token's own sequence, and `first_key` is where in the row that sequence begins. Sequences that begin at multiples of 128 have
 * the bits that they have alone.
 * @throws QuaverError `module-not-a-language-model`
 */
export function lossFunction(module: Module): GraphFunction {
  const source = findFunction(module, 'logprobs');
  const logprobs = source?.outputs.find(({ name }) => name === 'logprobs')?.value;
  if (!source || !logprobs) {
    throw new QuaverError('module-not-a-language-model', `module '${module.name}' has no function 'logprobs'`, {
      hint: 'Import a language model; its functions are listed by `quaver inspect`.',
      where: { module: module.name },
    });
  }
  const rewriter = new FunctionRewriter({ ...source, name: 'loss' });
  const weights = rewriter.input('weights', logprobs.type);
  const perToken: TensorType = { dtype: 'i32', shape: logprobs.type.shape };
  const packing: Packing = {
    position: rewriter.input('position', perToken),
    firstKey: rewriter.input('first_key', perToken),
  };
  for (const node of source.nodes) keepPacked(rewriter, node, packing);
  const op = (name: string, operands: readonly Value[], attributes = {}) =>
    rewriter.op(name, operands, attributes, { location: 'loss' });
  const weighted = op('multiply', [logprobs, weights]);
  const flat = op('reshape', [weighted], { shape: [multiplyDims(...weighted.type.shape)] });
  rewriter.output('loss', op('negate', [op('reduce', [flat], { kind: 'sum', axes: [0] })]));
  return rewriter.finish();
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
