/** @file The part of the semantic verifier that judges one function: values, nodes, outputs and updates. */
import { QuaverError } from '@quaver/numerics';
import type { GraphFunction, Module, Node, Value, ValueKind } from './module.ts';
import type { OpDefinition } from './op.ts';
import type { OpRegistry } from './registry.ts';
import { formatType, sameType, type TensorType } from './type.ts';
import { verifyPlan } from './verify-plan.ts';
import { addUnique, type Place, refuse, type TypeVerifier } from './verify-types.ts';

const valueName = /^[A-Za-z0-9_.]+$/;

/** What the functions of one module share while they are verified. */
export interface ModuleContext {
  readonly registry: OpRegistry;
  readonly types: TypeVerifier;
  readonly parameters: ReadonlyMap<string, { readonly type: TensorType }>;
  readonly states: ReadonlyMap<string, { readonly type: TensorType }>;
}

export function moduleContext(module: Module, registry: OpRegistry, types: TypeVerifier): ModuleContext {
  return {
    registry,
    types,
    parameters: new Map(module.parameters.map((parameter) => [parameter.name, parameter])),
    states: new Map(module.states.map((state) => [state.name, state])),
  };
}

export function verifyFunction(fn: GraphFunction, context: ModuleContext): void {
  const values = new FunctionValues(fn, context.types);
  for (const value of fn.inputs) values.define(value, 'input', { function: fn.name });
  for (const value of fn.parameters) defineReference(values, value, 'parameter', context.parameters, fn);
  for (const value of fn.states) defineReference(values, value, 'state', context.states, fn);
  fn.nodes.forEach((node, i) => {
    verifyNode(node, placeOf(fn, node, i), values, context);
  });
  verifyResults(fn, values, context);
  if (fn.plan) verifyPlan(fn, fn.plan, context.types);
}

/** The values defined so far, in order of definition. */
class FunctionValues {
  readonly #fn: GraphFunction;
  readonly #types: TypeVerifier;
  readonly #defined = new Set<Value>();
  readonly #names = new Set<string>();

  constructor(fn: GraphFunction, types: TypeVerifier) {
    this.#fn = fn;
    this.#types = types;
  }

  define(value: Value, kind: ValueKind, at: Place): void {
    const place = { ...at, value: value.name };
    if (value.kind !== kind) refuse('verify-kind', place, `its kind is '${value.kind}' where '${kind}' belongs`);
    if (this.#defined.has(value)) refuse('verify-single-producer', place, 'it is defined twice');
    if (!valueName.test(value.name)) {
      refuse('verify-name', place, 'a value name must be letters, digits, underscores and dots');
    }
    addUnique(this.#names, value.name, 'value name', place);
    this.#types.type(value.type, place);
    this.#defined.add(value);
  }

  use(value: Value, at: Place): void {
    if (this.#defined.has(value)) return;
    const place = { ...at, value: value.name };
    const producer = this.#fn.nodes.findIndex((node) => node.results.includes(value));
    if (producer >= 0) refuse('verify-order', place, `it is used before node ${producer} defines it`);
    refuse('verify-undefined-value', place, 'it does not belong to this function');
  }
}

function placeOf(fn: GraphFunction, node: Node, index: number): Place {
  const op = `${node.domain}.${node.op}@${node.version}`;
  return { function: fn.name, node: index, op, ...(node.location === '' ? {} : { location: node.location }) };
}

function defineReference(
  values: FunctionValues,
  value: Value,
  kind: 'parameter' | 'state',
  targets: ModuleContext['parameters'],
  fn: GraphFunction,
): void {
  const place = { function: fn.name, value: value.name };
  values.define(value, kind, place);
  const target = value.ref === undefined ? undefined : targets.get(value.ref);
  if (target === undefined) refuse('verify-reference', place, `the module has no ${kind} '${value.ref ?? ''}'`);
  if (!sameType(target.type, value.type)) {
    refuse(
      'verify-reference',
      place,
      `its type is ${formatType(value.type)} but the ${kind} '${value.ref}' is ${formatType(target.type)}`,
    );
  }
}

function verifyNode(node: Node, place: Place, values: FunctionValues, context: ModuleContext): void {
  for (const operand of node.operands) if (operand) values.use(operand, place);
  const op = findOp(node, place, context.registry);
  for (const value of node.results) values.define(value, 'result', place);
  verifyAttributeSizes(node, op, place, context.types);
  const inferred = inferTypes(node, op, place);
  if (node.results.length !== inferred.length || inferred.length === 0) {
    refuse('verify-results', place, `it has ${node.results.length} results, the op gives ${inferred.length}`);
  }
  inferred.forEach((type, i) => {
    const value = node.results[i]!;
    if (sameType(value.type, type)) return;
    refuse(
      'verify-types',
      { ...place, value: value.name },
      `its type is ${formatType(value.type)} but the op gives ${formatType(type)}`,
    );
  });
}

function findOp(node: Node, place: Place, registry: OpRegistry): OpDefinition {
  try {
    return registry.get(node.domain, node.op, node.version);
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    return refuse(error.code, place, error.message, error.hint, error);
  }
}

/** Bounds what an op's type rule is handed, before it runs. */
function verifyAttributeSizes(node: Node, op: OpDefinition, place: Place, types: TypeVerifier): void {
  const maxLength = 1024;
  for (const [name, value] of Object.entries(node.attributes)) {
    if (!Array.isArray(value)) continue;
    if (value.length > maxLength) {
      refuse('verify-attributes', place, `attribute '${name}' has ${value.length} items, more than ${maxLength}`);
    }
    if (Object.hasOwn(op.attributes, name) && op.attributes[name]!.kind === 'dims') {
      for (const dim of value) types.dim(dim, place);
    }
  }
}

/**
 * Type rules see operands and attributes that a damaged file may hold; whatever they throw means that the node is
 * wrong, so anything but our own error becomes one.
 */
function inferTypes(node: Node, op: OpDefinition, place: Place): readonly TensorType[] {
  let inference: ReturnType<OpDefinition['infer']>;
  try {
    inference = op.infer(
      node.operands.map((value) => value?.type),
      node.attributes,
    );
  } catch (error) {
    const known = error instanceof QuaverError ? error : undefined;
    const code = known?.code.startsWith('attribute-') ? 'verify-attributes' : 'verify-types';
    return refuse(code, place, known?.message ?? `its operands or attributes do not fit: ${error}`, known?.hint, error);
  }
  for (const name of Object.keys(inference.attributes)) {
    if (!Object.hasOwn(node.attributes, name)) {
      refuse(
        'verify-attributes',
        place,
        `the attribute '${name}' is not stored`,
        'Nodes carry every attribute, defaults too.',
      );
    }
  }
  return inference.results;
}

function verifyResults(fn: GraphFunction, values: FunctionValues, context: ModuleContext): void {
  const names = new Set<string>();
  for (const { name, value } of fn.outputs) {
    const place = { function: fn.name, value: value.name };
    addUnique(names, name, 'output', place);
    values.use(value, place);
  }
  const updated = { state: new Set<string>(), parameter: new Set<string>() };
  for (const { target: kind, name, value } of fn.updates) {
    const place = { function: fn.name, value: value.name };
    values.use(value, place);
    const target = (kind === 'state' ? context.states : context.parameters).get(name);
    if (target === undefined) refuse('verify-update', place, `it updates the ${kind} '${name}', which does not exist`);
    if (updated[kind].has(name)) refuse('verify-update', place, `the ${kind} '${name}' is updated twice`);
    updated[kind].add(name);
    if (!sameType(target.type, value.type)) {
      refuse(
        'verify-update',
        place,
        `its type is ${formatType(value.type)} but the ${kind} '${name}' is ${formatType(target.type)}`,
      );
    }
  }
}
