/**
 * @file What an op is: one definition holds its operands, attributes, type rule, meaning and cost.
 * Everything that needs to know about an op (verifier, text form, executors, passes, docs) asks its definition.
 */
import { QuaverError } from '@quaver/numerics';
import { type AttributeSpec, type AttributeValues, resolveAttributes } from './attribute.ts';
import type { GraphBuilder } from './builder.ts';
import type { DType } from './dtype.ts';
import type { Attributes, Node, Value } from './module.ts';
import { type ConcreteType, formatType, type HostTensor, type TensorType } from './type.ts';

/** One operand: the dtypes it takes, its rank when fixed, and whether it may be absent. */
export interface OperandSpec {
  readonly dtypes: readonly DType[];
  readonly rank?: number;
  readonly optional?: boolean;
}

type Operands = Readonly<Record<string, OperandSpec>>;
type AttributeSpecs = Readonly<Record<string, AttributeSpec>>;

/** An operand-shaped record: optional operands may be undefined. */
export type OperandRecord<O extends Operands, T> = {
  readonly [K in keyof O]: O[K] extends { readonly optional: true } ? T | undefined : T;
};

/** No derivative on purpose: what the operand does to the result counts as constant. */
export const stopped = 'stopped';

/** A node to differentiate, and what the loss changes by with each of its results. */
export interface GradientContext<O extends Operands, A extends AttributeSpecs> {
  readonly operands: OperandRecord<O, Value>;
  readonly attributes: AttributeValues<A>;
  readonly results: readonly Value[];
  /**
   * f32 in the shape of the result; undefined where the loss does not depend on it. That of an FP8 value is with respect to
   * the number it stands for, its code times its scale: quantizing is differentiated straight through.
   */
  readonly cotangents: readonly (Value | undefined)[];
}

/** f32 in the shape of the operand, for operands of float dtypes. Left out: the rule does not know. */
export type OperandGradients<O extends Operands> = { readonly [K in keyof O]?: Value | typeof stopped };

/** What an author writes; see {@link defineOp}. */
export interface OpSource<O extends Operands, A extends AttributeSpecs> {
  readonly domain?: string;
  readonly version: number;
  /** One sentence for the reference documentation. */
  readonly summary: string;
  readonly operands: O;
  readonly attributes: A;
  /** Names of the results, in order. */
  readonly results: readonly string[];
  /** Result types; called with operands whose dtype and rank were already checked. Throw through {@link typeError}. */
  infer(types: OperandRecord<O, TensorType>, attributes: AttributeValues<A>): readonly TensorType[];
  /** Composites: the definition in simpler ops. It must name results in the order of `results`. */
  body?(g: GraphBuilder, operands: OperandRecord<O, Value>, attributes: AttributeValues<A>): readonly Value[];
  /** Primitives: the exact meaning, in the canonical order of docs/numerics.md. */
  evaluate?(
    operands: OperandRecord<O, HostTensor>,
    attributes: AttributeValues<A>,
    results: readonly ConcreteType[],
  ): readonly HostTensor[];
  /** Floating-point operations at concrete shapes; 0 for pure data movement. */
  flops?(
    operands: OperandRecord<O, ConcreteType>,
    attributes: AttributeValues<A>,
    results: readonly ConcreteType[],
  ): number;
  /**
   * Builds the gradients of the operands out of those of the results, at least one of which is given. A composite without a
   * rule is differentiated through its body.
   */
  gradient?(g: GraphBuilder, context: GradientContext<O, A>): OperandGradients<O>;
  /** Facts that passes ask for. */
  readonly traits?: readonly OpTrait[];
}

/**
 * - `narrowing`: loses precision on purpose; passes may not remove it or fold through it.
 * - `fold-barrier`: folding its result into a constant would undo quantization.
 * - `elementwise`: element i of each result depends on element i of the operands of its shape, and on single numbers, alone.
 */
export type OpTrait = 'narrowing' | 'fold-barrier' | 'elementwise';

/** A registered op; operands and attributes are positional and untyped, as passes and executors see them. */
export interface OpDefinition {
  readonly domain: string;
  readonly name: string;
  readonly version: number;
  readonly summary: string;
  readonly operands: Operands;
  readonly attributes: AttributeSpecs;
  readonly results: readonly string[];
  readonly traits: readonly OpTrait[];
  readonly isComposite: boolean;
  /** Checks operand count, dtypes and ranks, fills in attribute defaults, and gives the result types. */
  infer(types: readonly (TensorType | undefined)[], attributes: Attributes): OpInference;
  body(g: GraphBuilder, operands: readonly (Value | undefined)[], attributes: Attributes): readonly Value[];
  evaluate(
    operands: readonly (HostTensor | undefined)[],
    attributes: Attributes,
    results: readonly ConcreteType[],
  ): readonly HostTensor[];
  flops(
    operands: readonly (ConcreteType | undefined)[],
    attributes: Attributes,
    results: readonly ConcreteType[],
  ): number;
  readonly hasGradient: boolean;
  /** By position; undefined where the rule knows none. */
  gradient(
    g: GraphBuilder,
    node: Pick<Node, 'operands' | 'results' | 'attributes'>,
    cotangents: readonly (Value | undefined)[],
  ): readonly (Value | typeof stopped | undefined)[];
}

export interface OpInference {
  readonly attributes: Attributes;
  readonly results: readonly TensorType[];
}

/** The error that `infer` throws: operand types do not fit the op. */
export function typeError(op: string, message: string, hint?: string): QuaverError {
  return new QuaverError('op-type', `${op}: ${message}`, { where: { op }, ...(hint === undefined ? {} : { hint }) });
}

/** Makes a definition out of what the author wrote. The registry is built from these in `ops/index.ts`. */
export function defineOp<const O extends Operands, const A extends AttributeSpecs>(
  name: string,
  source: OpSource<O, A>,
): OpDefinition {
  const keys = Object.keys(source.operands);
  const record = <T>(items: readonly (T | undefined)[]) =>
    Object.fromEntries(keys.map((key, i) => [key, items[i]])) as OperandRecord<O, T>;
  const missing = (what: string) => (): never => {
    throw new QuaverError('op-has-no-meaning', `op ${name} has no ${what}`, { where: { op: name } });
  };
  const { body, evaluate, flops, gradient } = source;
  return {
    domain: source.domain ?? 'core',
    name,
    version: source.version,
    summary: source.summary,
    operands: source.operands,
    attributes: source.attributes,
    results: source.results,
    traits: source.traits ?? [],
    isComposite: body !== undefined,
    infer(types, given) {
      checkOperands(name, source.operands, types);
      const attributes = resolveAttributes(name, source.attributes, given);
      return { attributes, results: source.infer(record(types), attributes as AttributeValues<A>) };
    },
    body: body
      ? (g, operands, attributes) => body(g, record(operands), attributes as AttributeValues<A>)
      : missing('body: it is a primitive'),
    evaluate: evaluate
      ? (operands, attributes, results) => evaluate(record(operands), attributes as AttributeValues<A>, results)
      : missing('evaluation of its own: it is a composite'),
    flops: (operands, attributes, results) =>
      flops ? flops(record(operands), attributes as AttributeValues<A>, results) : 0,
    hasGradient: gradient !== undefined,
    gradient: gradient
      ? (g, { operands, results, attributes: given }, cotangents) => {
          const attributes = given as AttributeValues<A>;
          const found = gradient(g, { operands: record(operands), attributes, results, cotangents });
          return keys.map((key) => found[key]);
        }
      : missing('gradient'),
  };
}

function checkOperands(op: string, specs: Operands, types: readonly (TensorType | undefined)[]): void {
  const entries = Object.entries(specs);
  if (types.length > entries.length) {
    throw typeError(op, `${types.length} operands given, at most ${entries.length} taken`);
  }
  entries.forEach(([name, spec], i) => {
    const type = types[i];
    if (type === undefined) {
      if (!spec.optional) throw typeError(op, `operand '${name}' is missing`);
      return;
    }
    if (!spec.dtypes.includes(type.dtype)) {
      throw typeError(op, `operand '${name}' is ${formatType(type)}`, `It takes ${spec.dtypes.join(', ')}.`);
    }
    if (spec.rank !== undefined && type.shape.length !== spec.rank) {
      throw typeError(
        op,
        `operand '${name}' is ${formatType(type)}, of rank ${type.shape.length}`,
        `It takes rank ${spec.rank}.`,
      );
    }
  });
}
