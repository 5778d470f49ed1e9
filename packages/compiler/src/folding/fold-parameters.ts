import {
  byteCount,
  type GraphFunction,
  type Module,
  type OpRegistry,
  type Parameter,
  updatedNames,
  type Value,
} from '@quaver/ir';
import { FoldedTensors } from './folded-data.ts';
import { type Expression, ExpressionTable, sourceOf } from './parameter-expression.ts';
import { type FoldedValue, nameFolded } from './parameter-names.ts';
import { recomputeFolded } from './recompute-folded.ts';

/**
 * Replaces what can be computed from parameters alone by new parameters, whose bytes are computed when they are read.
 * Originals that nobody uses any more are dropped; equal computations in several functions give one parameter. What is made
 * of parameters that a function updates is computed anew by the function `quantize_weights`. Functions that update
 * parameters are left as they are.
 */
export function foldParameters(module: Module, registry: OpRegistry): Module {
  const table = new ExpressionTable(module, registry);
  const expressions = module.functions.map((fn) =>
    updatedNames(fn, 'parameter').size > 0 ? noExpressions : table.valuesOf(fn),
  );
  const folded = new Map<Expression, FoldedValue>();
  const stay = new Set<string>();
  module.functions.forEach((fn, i) => {
    for (const { value, location } of usesOutside(fn, expressions[i]!)) {
      const expression = expressions[i]!.get(value);
      if (expression?.kind === 'op') {
        if (!folded.has(expression)) folded.set(expression, { expression, location });
      } else if (value.kind === 'parameter') stay.add(value.ref!);
    }
  });
  if (folded.size === 0) return module;
  const names = nameFolded([...folded.values()], stay);
  const parameters = mergeParameters(module, stay, [...folded.values()], names);
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const functions = module.functions.map((fn, i) =>
    replaceFolded(fn, expressions[i]!, (expression) => {
      const name = names.get(expression);
      return name === undefined ? undefined : byName.get(name);
    }),
  );
  return recomputeFolded({ ...module, parameters, functions }, [...folded.values()], names, registry);
}

const noExpressions: ReadonlyMap<Value, Expression> = new Map();

/** Values that nodes which stay, outputs and state updates read, in order; with the reader's location. */
function usesOutside(fn: GraphFunction, expressions: ReadonlyMap<Value, Expression>) {
  const uses: { value: Value; location: string }[] = [];
  for (const node of fn.nodes) {
    if (expressions.has(node.results[0]!)) continue;
    for (const value of node.operands) if (value) uses.push({ value, location: node.location });
  }
  for (const { value } of [...fn.outputs, ...fn.updates]) uses.push({ value, location: '' });
  return uses;
}

/** The parameters that stay and the new ones, each new one in the place of the parameter it was made from. */
function mergeParameters(
  module: Module,
  stay: ReadonlySet<string>,
  folded: readonly FoldedValue[],
  names: ReadonlyMap<Expression, string>,
): Parameter[] {
  const tensors = new FoldedTensors();
  const made = new Map<string, Parameter[]>(module.parameters.map(({ name }) => [name, []]));
  for (const { expression } of folded) {
    const { type } = expression;
    const data = tensors.data(expression, byteCount(type) as number);
    made.get(sourceOf(expression).name)!.push({ name: names.get(expression)!, type, data, trainable: false });
  }
  return module.parameters.flatMap((original) => [
    ...(stay.has(original.name) ? [original] : []),
    ...made.get(original.name)!,
  ]);
}

function replaceFolded(
  fn: GraphFunction,
  expressions: ReadonlyMap<Value, Expression>,
  parameterOf: (expression: Expression) => Parameter | undefined,
): GraphFunction {
  const nodes = fn.nodes.filter((node) => !expressions.has(node.results[0]!));
  const used = new Set([
    ...nodes.flatMap((node) => node.operands),
    ...[...fn.outputs, ...fn.updates].map((o) => o.value),
  ]);
  const remaining = fn.parameters.filter((value) => used.has(value));
  const names = new Set(
    [fn.inputs, fn.states, remaining, ...nodes.map((node) => node.results)].flat().map((v) => v.name),
  );
  const added = new Map<Parameter, Value>();
  const resolve = (value: Value): Value => {
    const expression = value.kind === 'parameter' ? undefined : expressions.get(value);
    const parameter = expression && parameterOf(expression);
    if (!parameter) return value;
    const known = added.get(parameter);
    if (known) return known;
    const made: Value = {
      kind: 'parameter',
      name: freeName(parameter.name, names),
      type: parameter.type,
      ref: parameter.name,
    };
    added.set(parameter, made);
    return made;
  };
  const rewritten = nodes.map((node) => {
    const operands = node.operands.map((value) => value && resolve(value));
    return operands.every((value, i) => value === node.operands[i]) ? node : { ...node, operands };
  });
  const outputs = fn.outputs.map(({ name, value }) => ({ name, value: resolve(value) }));
  const updates = fn.updates.map((update) => ({ ...update, value: resolve(update.value) }));
  const parameters = [...remaining, ...added.values()];
  return { ...fn, parameters, nodes: rewritten, outputs, updates, plan: undefined };
}

function freeName(parameter: string, names: Set<string>): string {
  const base = parameter.replaceAll(/[^A-Za-z0-9_.]/g, '_');
  let name = base;
  for (let i = 1; names.has(name); i++) name = `${base}_${i}`;
  names.add(name);
  return name;
}
