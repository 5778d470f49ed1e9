import {
  FunctionRewriter,
  findFunction,
  type GraphFunction,
  type Module,
  type OpRegistry,
  updatedNames,
  type Value,
} from '@quaver/ir';
import type { Expression } from './parameter-expression.ts';
import type { FoldedValue } from './parameter-names.ts';

/** Recomputes, from weights that an optimizer moved, what folding made of them: FP8 codes, scales, BF16 copies. */
export const quantizeWeightsName = 'quantize_weights';

/**
 * Adds what the folded values need to the function `quantize_weights`, if they depend on parameters that some function
 * updates: generation and training then read one quantization of the new weights.
 */
export function recomputeFolded(
  module: Module,
  folded: readonly FoldedValue[],
  names: ReadonlyMap<Expression, string>,
  registry: OpRegistry,
): Module {
  const updated = new Set(module.functions.flatMap((fn) => [...updatedNames(fn, 'parameter')]));
  const changing = folded.filter(({ expression }) => dependsOn(expression, updated));
  if (changing.length === 0) return module;
  const known = findFunction(module, quantizeWeightsName);
  const rewriter = new FunctionRewriter(known ?? emptyFunction, registry);
  for (const node of rewriter.source.nodes) rewriter.keep(node);
  const values = new Map<Expression, Value>();
  const valueFor = (expression: Expression, location: string): Value => {
    const made = values.get(expression) ?? compute(expression, location);
    values.set(expression, made);
    return made;
  };
  const compute = (expression: Expression, location: string): Value => {
    if (expression.kind === 'op') {
      const operands = expression.operands.map((operand) => operand && valueFor(operand, location));
      return rewriter.apply(expression.op, operands, expression.attributes, { location })[0]!;
    }
    const { parameter } = expression;
    const own = rewriter.source.updates.find(({ target, name }) => target === 'parameter' && name === parameter.name);
    return own ? own.value : rewriter.parameter(parameter);
  };
  for (const { expression, location } of changing) {
    rewriter.updateParameter(names.get(expression)!, valueFor(expression, location));
  }
  const fn = rewriter.finish();
  const functions = known ? module.functions.map((old) => (old === known ? fn : old)) : [...module.functions, fn];
  return { ...module, functions };
}

function dependsOn(expression: Expression, parameters: ReadonlySet<string>): boolean {
  if (expression.kind === 'parameter') return parameters.has(expression.parameter.name);
  return expression.operands.some((operand) => operand && dependsOn(operand, parameters));
}

const emptyFunction: GraphFunction = {
  name: quantizeWeightsName,
  inputs: [],
  parameters: [],
  states: [],
  nodes: [],
  outputs: [],
  updates: [],
  plan: undefined,
};
