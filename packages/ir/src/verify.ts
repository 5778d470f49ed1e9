/**
 * @file The semantic verifier: every rule that a module keeps beyond what the types of module.ts say.
 * It runs after reading, before writing and between compiler passes; work is linear in the module's size.
 */
import { dtypeBytes } from './dtype.ts';
import type { Module, Parameter } from './module.ts';
import { coreOps } from './ops/index.ts';
import type { OpRegistry } from './registry.ts';
import { formatType } from './type.ts';
import { moduleContext, verifyFunction } from './verify-function.ts';
import { addUnique, refuse, TypeVerifier } from './verify-types.ts';

export interface VerifyOptions {
  /** Where ops are looked up; the core ops by default. */
  readonly registry?: OpRegistry;
}

const symbolName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Accepts exactly the valid modules. The error names the function, node (index, op, location) and value.
 * @throws QuaverError `verify-…`, or `op-unknown`
 */
export function verifyModule(module: Module, { registry = coreOps }: VerifyOptions = {}): void {
  verifySymbols(module);
  const types = new TypeVerifier(module);
  verifyTensors(module, types);
  const context = moduleContext(module, registry, types);
  const names = new Set<string>();
  for (const fn of module.functions) {
    addUnique(names, fn.name, 'function', { function: fn.name });
    verifyFunction(fn, context);
  }
}

function verifySymbols(module: Module): void {
  const names = new Set<string>();
  for (const { name, min, max, multiple } of module.symbols) {
    addUnique(names, name, 'symbol', {});
    if (!symbolName.test(name) || name === 'ceildiv') refuse('verify-symbol', {}, `'${name}' is not a symbol name`);
    const count = (n: number, least: number) => Number.isSafeInteger(n) && n >= least;
    if (!count(min, 0) || !(count(max, min) || max === Number.POSITIVE_INFINITY) || !count(multiple, 1)) {
      refuse('verify-symbol', {}, `symbol ${name} has the range ${min}..${max}, multiple ${multiple}`);
    }
  }
}

function verifyTensors(module: Module, types: TypeVerifier): void {
  const parameters = new Set<string>();
  for (const parameter of module.parameters) {
    addUnique(parameters, parameter.name, 'parameter', {});
    types.type(parameter.type, {});
    verifyParameterSize(parameter);
  }
  const states = new Set<string>();
  for (const state of module.states) {
    addUnique(states, state.name, 'state', {});
    types.type(state.type, {});
  }
}

function verifyParameterSize({ name, type, data }: Parameter): void {
  if (!type.shape.every((dim) => typeof dim === 'number')) {
    refuse('verify-parameter', {}, `the parameter '${name}' has the symbolic type ${formatType(type)}`);
  }
  const bytes = type.shape.reduce((product, dim) => product * BigInt(dim), BigInt(dtypeBytes[type.dtype]));
  if (data !== undefined && BigInt(data.byteLength) !== bytes) {
    refuse(
      'verify-parameter',
      {},
      `the parameter '${name}' is ${formatType(type)}, ${bytes} bytes, but its data has ${data.byteLength}`,
    );
  }
}
