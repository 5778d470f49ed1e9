/**
 * @file The reference interpreter: runs a function node by node on host tensors, in the canonical order of every op.
 * Slow and exact; what every executor is compared with.
 */
import { QuaverError } from '@quaver/numerics';
import { bindSymbols, missingInput } from './bind.ts';
import type { DimBindings } from './dim.ts';
import { expandComposite } from './expand.ts';
import type { GraphFunction, Node, Update, Value } from './module.ts';
import { coreOps } from './ops/index.ts';
import type { OpRegistry } from './registry.ts';
import { bindType, type ConcreteType, concreteElementCount, formatType, type HostTensor, sameType } from './type.ts';

/** Where the values of a function come from. The interpreter never writes to them. */
export interface InterpretBindings {
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /** The tensor of a parameter, by the parameter's name; asked when the function starts. */
  readonly parameters?: (name: string) => HostTensor;
  /** The tensor that a state variable holds, by the variable's name. */
  readonly states?: (name: string) => HostTensor;
}

export interface InterpretOptions {
  /** Where ops are looked up; the core ops by default. */
  readonly registry?: OpRegistry;
  /** Called after every node of the function, not for nodes inside of composites. */
  readonly onNode?: (node: Node, operands: readonly (HostTensor | undefined)[], results: readonly HostTensor[]) => void;
  /** Looked at before every node. */
  readonly signal?: AbortSignal;
}

export interface InterpretResults {
  /** By output name. */
  readonly outputs: Record<string, HostTensor>;
  /** New contents by state name, for the states that the function updates. */
  readonly states: Record<string, HostTensor>;
  /** New contents by parameter name, for the parameters that the function updates. */
  readonly parameters: Record<string, HostTensor>;
}

/**
 * Runs a function. Symbolic dimensions are bound by the shapes of inputs and states. Results never share memory with what
 * was bound.
 * @throws QuaverError `input-missing`, `input-unknown`, `value-type`, `shape-mismatch`, `dim-unbound`, `op-unknown`, and
 *   what ops throw (`gather-index`), naming node and location. An abort throws the signal's reason.
 */
export function interpretFunction(
  fn: GraphFunction,
  bind: InterpretBindings,
  options: InterpretOptions = {},
): InterpretResults {
  const bound = bindValues(fn, bind);
  const shapesOf = (values: readonly Value[], key: (value: Value) => string) =>
    Object.fromEntries(values.map((value) => [key(value), bound.get(value)!.type.shape]));
  const symbols = bindSymbols(
    fn,
    shapesOf(fn.inputs, (value) => value.name),
    {},
    shapesOf(fn.states, (value) => value.ref!),
  );
  const shared = new Set([...bound.values()].map((tensor) => tensor.data.buffer));
  const registry = options.registry ?? coreOps;
  const values = run(fn, bound, symbols, { ...options, registry });
  const result = (value: Value): HostTensor => {
    const tensor = values.get(value)!;
    return shared.has(tensor.data.buffer) ? { type: tensor.type, data: tensor.data.slice() } : tensor;
  };
  const updated = (target: Update['target']) =>
    Object.fromEntries(
      fn.updates.filter((update) => update.target === target).map(({ name, value }) => [name, result(value)]),
    );
  return {
    outputs: Object.fromEntries(fn.outputs.map(({ name, value }) => [name, result(value)])),
    states: updated('state'),
    parameters: updated('parameter'),
  };
}

function bindValues(fn: GraphFunction, bind: InterpretBindings): Map<Value, HostTensor> {
  for (const name of Object.keys(bind.inputs)) {
    if (fn.inputs.some((value) => value.name === name)) continue;
    throw new QuaverError('input-unknown', `function '${fn.name}' has no input '${name}'`, {
      hint: `Its inputs are: ${fn.inputs.map((value) => value.name).join(', ') || 'none'}.`,
      where: { function: fn.name, input: name },
    });
  }
  const bound = new Map<Value, HostTensor>();
  const set = (value: Value, tensor: HostTensor | undefined) => {
    if (!tensor) throw missingInput(fn.name, value.ref ?? value.name);
    checkTensor(fn.name, value, tensor);
    bound.set(value, tensor);
  };
  for (const value of fn.inputs) set(value, bind.inputs[value.name]);
  for (const value of fn.parameters) set(value, bind.parameters?.(value.ref!));
  for (const value of fn.states) set(value, bind.states?.(value.ref!));
  return bound;
}

function checkTensor(fn: string, value: Value, { type, data }: HostTensor): void {
  const rightDType = type.dtype === value.type.dtype;
  const rightShape = value.kind !== 'parameter' || sameType(type, value.type);
  if (rightDType && rightShape && data.length === concreteElementCount(type)) return;
  throw new QuaverError(
    'value-type',
    `${value.kind} '${value.ref ?? value.name}' of function '${fn}' is ${formatType(type)} with ${data.length} elements, ` +
      `expected ${formatType(value.type)}`,
    { where: { function: fn, value: value.name } },
  );
}

type RunOptions = InterpretOptions & { readonly registry: OpRegistry };

/** Runs the nodes in order and drops every value after its last use; what outputs and updates name is kept. */
function run(
  fn: GraphFunction,
  bound: ReadonlyMap<Value, HostTensor>,
  symbols: DimBindings,
  options: RunOptions,
): ReadonlyMap<Value, HostTensor> {
  const values = new Map(bound);
  const lastUse = lastUses(fn);
  fn.nodes.forEach((node, i) => {
    options.signal?.throwIfAborted();
    const operands = node.operands.map((value) => value && values.get(value));
    const results = runNode(node, operands, symbols, options);
    node.results.forEach((value, r) => {
      values.set(value, results[r]!);
    });
    options.onNode?.(node, operands, results);
    for (const value of [...node.operands, ...node.results]) {
      if (value && (lastUse.get(value) ?? i) <= i) values.delete(value);
    }
  });
  return values;
}

/** The index of the last node that reads each value; Infinity for outputs and updates. */
function lastUses(fn: GraphFunction): Map<Value, number> {
  const lastUse = new Map<Value, number>();
  fn.nodes.forEach((node, i) => {
    for (const value of node.operands) if (value) lastUse.set(value, i);
  });
  for (const { value } of [...fn.outputs, ...fn.updates]) lastUse.set(value, Number.POSITIVE_INFINITY);
  return lastUse;
}

function runNode(
  node: Node,
  operands: readonly (HostTensor | undefined)[],
  symbols: DimBindings,
  options: RunOptions,
): readonly HostTensor[] {
  try {
    const op = options.registry.get(node.domain, node.op, node.version);
    if (op.isComposite) return runComposite(node, operands, symbols, options);
    const types = node.results.map((value): ConcreteType => bindType(value.type, symbols));
    return op.evaluate(operands, node.attributes, types);
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    const name = node.results[0]?.name ?? '';
    const location = node.location === '' ? '' : ` at ${node.location}`;
    throw new QuaverError(error.code, `${error.message} (in %${name} = ${node.op}${location})`, {
      where: { ...error.where, node: name, op: node.op, location: node.location },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

function runComposite(
  node: Node,
  operands: readonly (HostTensor | undefined)[],
  symbols: DimBindings,
  { registry, signal }: RunOptions,
): readonly HostTensor[] {
  const body = cachedBody(node, registry);
  const present = operands.filter((tensor) => tensor !== undefined);
  const bound = new Map(body.inputs.map((value, i) => [value, present[i]!]));
  const values = run(body, bound, symbols, { registry, ...(signal ? { signal } : {}) });
  return body.outputs.map(({ value }) => values.get(value)!);
}

const bodies = new WeakMap<OpRegistry, Map<string, GraphFunction>>();

/** Nodes that differ in name and location alone share one expansion. */
function cachedBody(node: Node, registry: OpRegistry): GraphFunction {
  let cache = bodies.get(registry);
  if (!cache) {
    cache = new Map();
    bodies.set(registry, cache);
  }
  const key = [
    `${node.domain}.${node.op}@${node.version}`,
    ...node.operands.map((value) => (value ? formatType(value.type) : '-')),
    ...Object.entries(node.attributes).map(([name, value]) => `${name}=${value}`),
  ].join(' ');
  let body = cache.get(key);
  if (!body) {
    body = expandComposite({ ...node, location: '' }, registry);
    cache.set(key, body);
  }
  return body;
}
