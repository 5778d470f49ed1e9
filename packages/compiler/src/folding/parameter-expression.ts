/** @file Computations on parameters alone, as expressions that functions share: equal ones are one object. */
import {
  type Attributes,
  type ConcreteType,
  concreteElementCount,
  fp8DTypes,
  type GraphFunction,
  type Module,
  type Node,
  type OpDefinition,
  type OpRegistry,
  type Parameter,
  type Value,
} from '@quaver/ir';
import { attributesText } from '../graph/attribute-text.ts';

/** A parameter, or an op applied to expressions. */
export type Expression = ParameterExpression | OpExpression;

interface ParameterExpression {
  readonly kind: 'parameter';
  readonly id: number;
  readonly type: ConcreteType;
  readonly parameter: Parameter;
}

export interface OpExpression {
  readonly kind: 'op';
  readonly id: number;
  readonly type: ConcreteType;
  readonly op: OpDefinition;
  readonly attributes: Attributes;
  readonly operands: readonly (Expression | undefined)[];
}

/** The parameter that an expression is a form of: the first one it mentions. */
export function sourceOf(expression: Expression): Parameter {
  let current = expression;
  while (current.kind === 'op') current = current.operands.find((operand) => operand !== undefined)!;
  return current.parameter;
}

/** The expressions of a module's functions, each made once. */
export class ExpressionTable {
  readonly #registry: OpRegistry;
  readonly #parameters: ReadonlyMap<string, Parameter>;
  readonly #interned = new Map<string, Expression>();

  constructor(module: Module, registry: OpRegistry) {
    this.#registry = registry;
    this.#parameters = new Map(module.parameters.map((parameter) => [parameter.name, parameter]));
  }

  /** Every value of the function that can be computed from parameters ahead of time; the parameters themselves too. */
  valuesOf(fn: GraphFunction): Map<Value, Expression> {
    const found = new Map<Value, Expression>();
    for (const value of fn.parameters) {
      const parameter = this.#parameters.get(value.ref!);
      if (!parameter?.data) continue;
      const key = JSON.stringify(parameter.name);
      const { type } = parameter;
      found.set(
        value,
        this.#intern(key, (id) => ({ kind: 'parameter', id, type, parameter })),
      );
    }
    for (const node of fn.nodes) {
      const operands = node.operands.map((value) => value && found.get(value));
      const complete = operands.length > 0 && operands.every((operand, i) => operand || !node.operands[i]);
      if (!complete) continue;
      const op = this.#registry.get(node.domain, node.op, node.version);
      if (foldable(node, op)) found.set(node.results[0]!, this.#apply(node, op, operands));
    }
    return found;
  }

  #apply(node: Node, op: OpDefinition, operands: readonly (Expression | undefined)[]): Expression {
    const type = node.results[0]!.type as ConcreteType;
    const ids = operands.map((operand) => operand?.id ?? '-').join();
    const key = `${node.domain}.${node.op}@${node.version}(${ids}){${attributesText(node.attributes)}}`;
    return this.#intern(key, (id) => ({ kind: 'op', id, type, op, attributes: node.attributes, operands }));
  }

  #intern(key: string, make: (id: number) => Expression): Expression {
    const known = this.#interned.get(key);
    if (known) return known;
    const expression = make(this.#interned.size);
    this.#interned.set(key, expression);
    return expression;
  }
}

/**
 * Never through `dequantize` or a conversion from or to FP8: that would put high-precision weights where FP8 ones were.
 * Never what has more elements than it is made from: a broadcast is cheaper to make again than to store.
 */
function foldable(node: Node, op: OpDefinition): boolean {
  if (op.isComposite || node.results.length !== 1) return false;
  const types = [node.operands[0]!.type, node.results[0]!.type];
  if (node.op === 'convert') return !types.some(({ dtype }) => fp8DTypes.includes(dtype));
  if (op.traits.includes('fold-barrier') && node.op !== 'quantize') return false;
  const size = (value: Value) => concreteElementCount(value.type as ConcreteType);
  return size(node.results[0]!) <= Math.max(...node.operands.map((value) => (value ? size(value) : 0)));
}
