/**
 * @file Rebuilding a function node by node: what every pass that changes a graph is written with.
 * Untouched nodes and values are shared with the source function, so a pass that changes nothing returns its source.
 */
import { QuaverError } from '@quaver/numerics';
import { GraphBuilder } from '../builder.ts';
import type { Attributes, GraphFunction, Node, Parameter, StateVariable, Update, Value } from '../module.ts';
import type { OpDefinition } from '../op.ts';
import { coreOps } from '../ops/index.ts';
import type { OpRegistry } from '../registry.ts';
import { sameType, type TensorType } from '../type.ts';

/** Where a new node comes from; give the node it replaces. */
export interface NodeOrigin {
  readonly location: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

function nameTaken(fn: string, what: string, name: string): QuaverError {
  return new QuaverError('rewrite-name', `function '${fn}' has ${what} named '${name}' already`, {
    where: { function: fn, name },
  });
}

export class FunctionRewriter {
  readonly source: GraphFunction;
  readonly nodes: Node[] = [];
  readonly #registry: OpRegistry;
  readonly #inputs: Value[];
  readonly #parameters: Value[];
  readonly #states: Value[];
  readonly #replacements = new Map<Value, Value>();
  readonly #producers = new Map<Value, Node>();
  readonly #names = new Set<string>();
  readonly #nextSuffix = new Map<string, number>();
  readonly #outputs: { name: string; value: Value }[] = [];
  readonly #updates: Update[] = [];
  #changed = false;

  constructor(source: GraphFunction, registry: OpRegistry = coreOps) {
    this.source = source;
    this.#registry = registry;
    this.#inputs = [...source.inputs];
    this.#parameters = [...source.parameters];
    this.#states = [...source.states];
    for (const list of [source.inputs, source.parameters, source.states]) {
      for (const value of list) this.#names.add(value.name);
    }
    for (const node of source.nodes) for (const value of node.results) this.#names.add(value.name);
  }

  /** What stands for a value of the source function now. */
  resolve(value: Value): Value {
    let current = value;
    for (let next = this.#replacements.get(current); next; next = this.#replacements.get(current)) current = next;
    return current;
  }

  /** The node appended so far that makes a value; undefined for inputs, parameters and states. */
  producer(value: Value): Node | undefined {
    return this.#producers.get(this.resolve(value));
  }

  /** From here on, uses of `from` read `to`. */
  replace(from: Value, to: Value): void {
    const target = this.resolve(to);
    if (target === from) return;
    this.#replacements.set(from, target);
    this.#changed = true;
  }

  /** Leaves a node of the source function out. Its results must be replaced or unused. */
  drop(_node: Node): void {
    this.#changed = true;
  }

  /** Appends a node of the source function with its operands resolved; result types are inferred anew where needed. */
  keep(node: Node, annotations: Readonly<Record<string, string>> = node.annotations): Node {
    const operands = node.operands.map((value) => value && this.resolve(value));
    const same = operands.every((value, i) => value === node.operands[i]);
    if (same && annotations === node.annotations) {
      this.#push(node);
      return node;
    }
    this.#changed = true;
    const retyped = operands.some((value, i) => value && !sameType(value.type, node.operands[i]!.type));
    const results = retyped ? this.#inferAnew(node, operands) : node.results;
    const kept: Node = { ...node, operands, results, annotations };
    this.#push(kept);
    return kept;
  }

  /** Appends a node of a core op with one result. */
  op(name: string, operands: readonly (Value | undefined)[], attributes: Attributes, origin: NodeOrigin): Value {
    return this.apply(this.#registry.latest('core', name), operands, attributes, origin)[0]!;
  }

  /** Appends a node of any op; gives all its results. */
  apply(
    op: OpDefinition,
    operands: readonly (Value | undefined)[],
    attributes: Attributes,
    origin: NodeOrigin,
  ): readonly Value[] {
    const g = new GraphBuilder(this.source.name);
    const resolved = operands.map((value) => value && this.resolve(value));
    const { location, annotations = {} } = origin;
    const results = g.apply(op, resolved, attributes, { location, annotations });
    this.append(g.nodes[0]!);
    return results;
  }

  /** Appends a node made elsewhere, giving its results names that are unique here. */
  append(node: Node): void {
    for (const value of node.results) value.name = this.#uniqueName(value.name);
    this.#push(node);
    this.#changed = true;
  }

  /** The nodes and results of a composite's body on the node's (resolved) operands; nothing is appended yet. */
  body(node: Node): { readonly nodes: readonly Node[]; readonly results: readonly Value[] } {
    const op = this.#registry.get(node.domain, node.op, node.version);
    const g = new GraphBuilder(this.source.name);
    const operands = node.operands.map((value) => value && this.resolve(value));
    const results = g.scope(node.location, () => op.body(g, operands, node.attributes));
    return { nodes: g.nodes, results };
  }

  /** The value of a module parameter in this function; added when the function did not use it. */
  parameter(parameter: Pick<Parameter, 'name' | 'type'>): Value {
    return this.#shared('parameter', this.#parameters, parameter);
  }

  /** The value a state variable has when the function starts; added when the function did not use it. */
  state(state: StateVariable): Value {
    return this.#shared('state', this.#states, state);
  }

  /**
   * One more input.
   * @throws QuaverError `rewrite-name` when a value of the function has this name
   */
  input(name: string, type: TensorType): Value {
    if (this.#names.has(name)) throw nameTaken(this.source.name, 'a value', name);
    this.#names.add(name);
    const value: Value = { kind: 'input', name, type, ref: undefined };
    this.#inputs.push(value);
    this.#changed = true;
    return value;
  }

  /**
   * One more output, besides those of the source function.
   * @throws QuaverError `rewrite-name` when there is an output of this name
   */
  output(name: string, value: Value): void {
    const taken = [...this.source.outputs, ...this.#outputs].some((output) => output.name === name);
    if (taken) throw nameTaken(this.source.name, 'an output', name);
    this.#outputs.push({ name, value });
    this.#changed = true;
  }

  /** Gives a state or a parameter another type: uses of the old value read the new one. */
  retype(value: Value, type: TensorType): Value {
    const retyped: Value = { ...value, type };
    const list = value.kind === 'parameter' ? this.#parameters : this.#states;
    list[list.indexOf(value)] = retyped;
    this.replace(value, retyped);
    return retyped;
  }

  /** Makes `value` what a state variable holds after the call, besides the updates of the source function. */
  update(state: string, value: Value): void {
    this.#updates.push({ target: 'state', name: state, value });
    this.#changed = true;
  }

  /** Makes `value` what a parameter holds after the call, besides the updates of the source function. */
  updateParameter(name: string, value: Value): void {
    this.#updates.push({ target: 'parameter', name, value });
    this.#changed = true;
  }

  /** The rewritten function; the source itself when nothing changed. A memory plan does not survive a change. */
  finish(): GraphFunction {
    if (!this.#changed) return this.source;
    const { name, outputs, updates } = this.source;
    return {
      name,
      inputs: this.#inputs,
      parameters: this.#parameters,
      states: this.#states,
      nodes: this.nodes,
      outputs: [...outputs, ...this.#outputs].map((output) => ({
        name: output.name,
        value: this.resolve(output.value),
      })),
      updates: [...updates, ...this.#updates].map((update) => ({ ...update, value: this.resolve(update.value) })),
      plan: undefined,
    };
  }

  #push(node: Node): void {
    this.nodes.push(node);
    for (const value of node.results) this.#producers.set(value, node);
  }

  #inferAnew(node: Node, operands: readonly (Value | undefined)[]): readonly Value[] {
    const op = this.#registry.get(node.domain, node.op, node.version);
    const { results } = op.infer(
      operands.map((value) => value?.type),
      node.attributes,
    );
    return node.results.map((value, i) => {
      const type = results[i]!;
      if (sameType(value.type, type)) return value;
      const retyped: Value = { ...value, type };
      this.#replacements.set(value, retyped);
      return retyped;
    });
  }

  #shared(
    kind: 'parameter' | 'state',
    list: Value[],
    item: { readonly name: string; readonly type: TensorType },
  ): Value {
    const known = list.find((value) => value.ref === item.name);
    if (known) return this.resolve(known);
    const name = this.#uniqueName(item.name.replaceAll(/[^A-Za-z0-9_.]/g, '_'));
    const value: Value = { kind, name, type: item.type, ref: item.name };
    list.push(value);
    this.#changed = true;
    return value;
  }

  #uniqueName(wanted: string): string {
    let name = wanted;
    for (let i = this.#nextSuffix.get(wanted) ?? 1; this.#names.has(name); i++) {
      name = `${wanted}_${i}`;
      this.#nextSuffix.set(wanted, i + 1);
    }
    this.#names.add(name);
    return name;
  }
}
