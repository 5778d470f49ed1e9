import {
  allocateHostArray,
  concreteElementCount,
  type DimBindings,
  formatType,
  type GraphFunction,
  type HostTensor,
  type Module,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/**
 * Checks the inputs of a call as far as they can be checked one by one; `bindSymbols` compares their shapes.
 * @throws QuaverError `session-input` naming function and input
 */
export function checkInputs(fn: GraphFunction, inputs: Readonly<Record<string, HostTensor>>): void {
  if (typeof inputs !== 'object' || inputs === null) {
    throw new QuaverError('session-input', `the inputs of function '${fn.name}' are ${String(inputs)}`, {
      hint: `Give an object with: ${fn.inputs.map(({ name }) => name).join(', ') || 'nothing'}.`,
      where: { function: fn.name },
    });
  }
  const unknown = Object.keys(inputs).find((name) => !fn.inputs.some((value) => value.name === name));
  if (unknown !== undefined) {
    const names = fn.inputs.map(({ name }) => name).join(', ') || 'none';
    throw inputError(fn, unknown, 'does not exist', `Its inputs are: ${names}.`);
  }
  for (const value of fn.inputs) {
    const problem = problemOf(value, inputs[value.name]);
    if (problem !== undefined) throw inputError(fn, value.name, problem, `It takes ${formatType(value.type)}.`);
  }
}

/**
 * Checks sizes against the ranges that the module allows.
 * @throws QuaverError `session-symbol-range`
 */
export function checkRanges(module: Module, symbols: DimBindings): void {
  for (const { name, min, max, multiple } of module.symbols) {
    const value = symbols[name];
    if (value === undefined || (value >= min && value <= max && value % multiple === 0)) continue;
    throw new QuaverError(
      'session-symbol-range',
      `${name} = ${value} is outside of what module '${module.name}' allows: ${min} to ${max}` +
        (multiple === 1 ? '' : `, multiples of ${multiple}`),
      { hint: 'Use a shorter sequence, or import the model with a longer context.', where: { symbol: name } },
    );
  }
}

function problemOf(value: Value, given: HostTensor | undefined): string | undefined {
  if (!given) return 'is not given';
  const { type, data } = given;
  if (!Array.isArray(type?.shape) || !ArrayBuffer.isView(data)) return 'is no tensor { type: { dtype, shape }, data }';
  const { dtype } = value.type;
  if (type.dtype !== dtype) return `is ${type.dtype}, expected ${dtype}`;
  const expected = allocateHostArray(dtype, 0).constructor.name;
  if (data.constructor.name !== expected) return `is held in ${data.constructor.name}, expected ${expected}`;
  if (data.length !== concreteElementCount(type)) {
    return `holds ${data.length} elements, its shape says [${type.shape}]`;
  }
  return undefined;
}

function inputError(fn: GraphFunction, input: string, problem: string, hint: string): QuaverError {
  return new QuaverError('session-input', `input '${input}' of function '${fn.name}' ${problem}`, {
    hint,
    where: { function: fn.name, input },
  });
}
