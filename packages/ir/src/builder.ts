import { QuaverError } from '@quaver/numerics';
import type { Dim } from './dim.ts';
import type { DType } from './dtype.ts';
import type {
  Attributes,
  FunctionOutput,
  GraphFunction,
  Node,
  Parameter,
  StateVariable,
  Update,
  Value,
} from './module.ts';
import type { OpDefinition } from './op.ts';
import { coreOps } from './ops/index.ts';
import { type TensorType, tensorType } from './type.ts';

type NodeExtras = Partial<Pick<Node, 'annotations' | 'location'>> & { readonly name?: string };

/**
 * Appends type-checked nodes to one function. Every method returns values whose types were inferred;
 * an operand that does not fit throws at once (`op-type`), naming the op and the model location.
 */
export class GraphBuilder {
  readonly name: string;
  readonly nodes: Node[] = [];
  readonly inputs: Value[] = [];
  readonly parameters: Value[] = [];
  readonly states: Value[] = [];
  readonly #outputs: FunctionOutput[] = [];
  readonly #updates: Update[] = [];
  readonly #shared = new Map<string, Value>();
  /** Every name in use, with the suffix to try first when it is wanted again. */
  readonly #names = new Map<string, number>();
  #location = '';

  constructor(name: string) {
    this.name = name;
  }

  /** Runs `build` with `part` appended to the location that new nodes carry. */
  scope<T>(part: string, build: () => T): T {
    const outer = this.#location;
    this.#location = outer === '' ? part : `${outer}.${part}`;
    try {
      return build();
    } finally {
      this.#location = outer;
    }
  }

  input(name: string, dtype: DType, shape: readonly Dim[]): Value {
    const value = this.#value('input', name, tensorType(dtype, shape));
    this.inputs.push(value);
    return value;
  }

  /** The value of a module parameter in this function; the same object on every call. */
  parameter(parameter: Pick<Parameter, 'name' | 'type'>): Value {
    return this.#once('parameter', this.parameters, parameter);
  }

  /** The value that a state variable has when the function starts. */
  state(state: StateVariable): Value {
    return this.#once('state', this.states, state);
  }

  /** Makes `value` what the state variable holds after the call. */
  update(state: StateVariable, value: Value): void {
    this.#updates.push({ target: 'state', name: state.name, value });
  }

  /** Makes `value` what the parameter holds after the call. */
  updateParameter(parameter: Pick<Parameter, 'name'>, value: Value): void {
    this.#updates.push({ target: 'parameter', name: parameter.name, value });
  }

  output(name: string, value: Value): void {
    this.#outputs.push({ name, value });
  }

  /** A node of a core op, with one result. */
  op(
    name: string,
    operands: readonly (Value | undefined)[],
    attributes: Attributes = {},
    extras: NodeExtras = {},
  ): Value {
    return this.apply(coreOps.latest('core', name), operands, attributes, extras)[0]!;
  }

  /** A node of any op; gives all its results. */
  apply(
    op: OpDefinition,
    operands: readonly (Value | undefined)[],
    attributes: Attributes = {},
    extras: NodeExtras = {},
  ): readonly Value[] {
    const location = extras.location ?? this.#location;
    const { attributes: resolved, results } = inferAt(op, operands, attributes, location);
    const base = extras.name ?? op.name;
    const values = results.map((type, i) =>
      this.#value('result', results.length === 1 ? base : `${base}.${op.results[i]}`, type),
    );
    this.nodes.push({
      domain: op.domain,
      op: op.name,
      version: op.version,
      operands: trimTrailingUndefined(operands),
      results: values,
      attributes: resolved,
      location,
      annotations: extras.annotations ?? {},
    });
    return values;
  }

  /** A splat constant. */
  constant(value: number, dtype: DType = 'f32', shape: readonly Dim[] = []): Value {
    return this.op('constant', [], { value, dtype, shape });
  }

  convert(x: Value, to: DType): Value {
    return x.type.dtype === to ? x : this.op('convert', [x], { to });
  }

  finish(): GraphFunction {
    return {
      name: this.name,
      inputs: this.inputs,
      parameters: this.parameters,
      states: this.states,
      nodes: this.nodes,
      outputs: this.#outputs,
      updates: this.#updates,
      plan: undefined,
    };
  }

  #once(kind: 'parameter' | 'state', list: Value[], item: { readonly name: string; readonly type: TensorType }): Value {
    const key = `${kind} ${item.name}`;
    const known = this.#shared.get(key);
    if (known) return known;
    const value = this.#value(kind, item.name, item.type, item.name);
    this.#shared.set(key, value);
    list.push(value);
    return value;
  }

  #value(kind: Value['kind'], wanted: string, type: TensorType, ref?: string): Value {
    const base = wanted.replaceAll(/[^A-Za-z0-9_.]/g, '_') || '_';
    let name = base;
    let suffix = this.#names.get(base) ?? 1;
    while (this.#names.has(name)) name = `${base}_${suffix++}`;
    this.#names.set(base, suffix);
    if (name !== base) this.#names.set(name, 1);
    return { kind, name, type, ref };
  }
}

function inferAt(op: OpDefinition, operands: readonly (Value | undefined)[], attributes: Attributes, location: string) {
  try {
    return op.infer(
      operands.map((value) => value?.type),
      attributes,
    );
  } catch (error) {
    if (!(error instanceof QuaverError) || location === '') throw error;
    throw new QuaverError(error.code, `${error.message} (at ${location})`, {
      where: { ...error.where, location },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

function trimTrailingUndefined<T>(items: readonly (T | undefined)[]): readonly (T | undefined)[] {
  let end = items.length;
  while (end > 0 && items[end - 1] === undefined) end--;
  return items.slice(0, end);
}
