import { FunctionRewriter, findFunction, type GraphFunction, type Module, multiplyDims, type Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/**
 * The function `loss(tokens[B,T], targets[B,T], mask[B,T]) → loss[]` of a language model, made of its `logprobs`: the mean of
 * -log p(target) over the positions whose mask is not 0, weighted by it. A mask of zeros gives NaN.
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
  const rewriter = new FunctionRewriter({ ...source, name: 'loss', outputs: [] });
  for (const node of source.nodes) rewriter.keep(node);
  const mask = rewriter.input('mask', logprobs.type);
  const op = (name: string, operands: readonly Value[], attributes = {}) =>
    rewriter.op(name, operands, attributes, { location: 'loss' });
  const sum = (x: Value) => {
    const flat = op('reshape', [x], { shape: [multiplyDims(...x.type.shape)] });
    return op('reduce', [flat], { kind: 'sum', axes: [0] });
  };
  const total = sum(op('multiply', [logprobs, mask]));
  rewriter.output('loss', op('negate', [op('divide', [total, sum(mask)])]));
  return rewriter.finish();
}
