import { QuaverError } from '@quaver/numerics';
import { type Dim, type DimBindings, dimSymbols, evaluateDim } from './dim.ts';
import type { GraphFunction, Value } from './module.ts';
import { formatType } from './type.ts';

type Shapes = Readonly<Record<string, readonly number[]>>;

/**
 * Values of a function's symbolic dimensions, taken from the shapes of its inputs and states.
 * Every shape must fit its declared type and all of them must agree.
 *
 * @param inputShapes shape by input name; all inputs must be there
 * @param known symbols that are bound already; a shape that disagrees is an error
 * @param stateShapes shape by state name, for states whose shape is known
 * @throws QuaverError `input-missing`, `shape-mismatch`
 */
export function bindSymbols(
  fn: GraphFunction,
  inputShapes: Shapes,
  known: DimBindings = {},
  stateShapes: Shapes = {},
): DimBindings {
  const bindings: Record<string, number> = { ...known };
  const given: [what: string, value: Value, shape: readonly number[]][] = [];
  for (const value of fn.inputs) {
    const shape = inputShapes[value.name];
    if (!shape) throw missingInput(fn.name, value.name);
    given.push([`input '${value.name}'`, value, shape]);
  }
  for (const value of fn.states) {
    const shape = stateShapes[value.ref!];
    if (shape) given.push([`state '${value.ref}'`, value, shape]);
  }
  // Plain symbols first: expressions such as 2*T may mention what a later input binds.
  for (const [what, value, shape] of given) {
    if (shape.length !== value.type.shape.length) throw mismatch(fn.name, what, value, shape, 'the ranks differ');
    value.type.shape.forEach((dim, axis) => {
      const symbol = plainSymbol(dim);
      if (symbol !== undefined) bindings[symbol] ??= shape[axis]!;
    });
  }
  for (const [what, value, shape] of given) {
    value.type.shape.forEach((dim, axis) => {
      if (dimSymbols(dim).some((symbol) => bindings[symbol] === undefined)) return;
      const expected = evaluateDim(dim, bindings);
      if (expected === shape[axis]) return;
      const bound = typeof dim === 'number' ? '' : `, which is ${expected} here`;
      throw mismatch(fn.name, what, value, shape, `dimension ${axis} is ${shape[axis]}, expected ${dim}${bound}`);
    });
  }
  return bindings;
}

export function missingInput(fn: string, name: string): QuaverError {
  return new QuaverError('input-missing', `function '${fn}' needs the input '${name}'`, {
    hint: `Bind a tensor to '${name}'.`,
    where: { function: fn, input: name },
  });
}

function plainSymbol(dim: Dim): string | undefined {
  return typeof dim === 'string' && /^\w+$/.test(dim) ? dim : undefined;
}

function mismatch(fn: string, what: string, value: Value, shape: readonly number[], why: string): QuaverError {
  return new QuaverError(
    'shape-mismatch',
    `${what} of function '${fn}' has shape [${shape.join(',')}] but its type is ${formatType(value.type)}: ${why}`,
    { hint: 'The same symbol must have the same size everywhere.', where: { function: fn, value: value.name } },
  );
}
