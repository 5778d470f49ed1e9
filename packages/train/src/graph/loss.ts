import { FunctionRewriter, findFunction, type GraphFunction, type Module, multiplyDims, type Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/**
 * The function `loss(tokens[B,T], targets[B,T], weights[B,T]) → (loss[], logprobs[B,T])` of a language model, made of its
 * `logprobs`: the sum of -weight * log p(target). Weights of 1/N on the N tokens that count give their mean, also when the N
 * tokens are spread over several calls; tokens that do not count have weight 0.
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
  for (const node of source.nodes) rewriter.keep(node);
  const weights = rewriter.input('weights', logprobs.type);
  const op = (name: string, operands: readonly Value[], attributes = {}) =>
    rewriter.op(name, operands, attributes, { location: 'loss' });
  const weighted = op('multiply', [logprobs, weights]);
  const flat = op('reshape', [weighted], { shape: [multiplyDims(...weighted.type.shape)] });
  rewriter.output('loss', op('negate', [op('reduce', [flat], { kind: 'sum', axes: [0] })]));
  return rewriter.finish();
}
