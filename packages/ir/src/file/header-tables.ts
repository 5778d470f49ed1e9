/** @file What the tables of a header share while it is encoded: strings, and interned types, dimensions and ops. */
import { QuaverError } from '@quaver/numerics';
import type { Builder, Offset } from 'flatbuffers';
import type { AttributeKind } from '../attribute.ts';
import type { Dim } from '../dim.ts';
import type { DType } from '../dtype.ts';
import * as fb from '../gen/ir.ts';
import type { Attributes, AttributeValue, Module, Node } from '../module.ts';
import type { OpRegistry } from '../registry.ts';
import { formatType, type TensorType } from '../type.ts';

/** Hands out indices in order of first use. */
class Interned<T> {
  readonly items: T[] = [];
  readonly #indices = new Map<string, number>();

  index(key: string, item: T): number {
    const known = this.#indices.get(key);
    if (known !== undefined) return known;
    this.#indices.set(key, this.items.length);
    return this.items.push(item) - 1;
  }
}

export class HeaderTables {
  readonly builder: Builder;
  readonly parameterIndex: ReadonlyMap<string, number>;
  readonly stateIndex: ReadonlyMap<string, number>;
  readonly #registry: OpRegistry;
  readonly #types = new Interned<TensorType>();
  readonly #dims = new Interned<string>();
  readonly #ops = new Interned<Pick<Node, 'domain' | 'op' | 'version'>>();

  constructor(builder: Builder, module: Module, registry: OpRegistry) {
    this.builder = builder;
    this.#registry = registry;
    this.parameterIndex = new Map(module.parameters.map(({ name }, i) => [name, i]));
    this.stateIndex = new Map(module.states.map(({ name }, i) => [name, i]));
  }

  string(text: string): Offset {
    if (!text.isWellFormed()) {
      throw new QuaverError('module-string', `${JSON.stringify(text).slice(0, 80)} is not Unicode text`, {
        hint: 'It holds half of a surrogate pair, which no UTF-8 file can store.',
      });
    }
    return this.builder.createString(text);
  }

  type(type: TensorType): number {
    return this.#types.index(formatType(type), type);
  }

  op(node: Node): number {
    return this.#ops.index(`${node.domain}.${node.op}@${node.version}`, node);
  }

  dim(dim: Dim): bigint {
    return typeof dim === 'number' ? BigInt(dim) : BigInt(-1 - this.#dims.index(dim, dim));
  }

  entries(record: Readonly<Record<string, string>>): Offset[] {
    return Object.entries(record).map(([key, value]) =>
      fb.Entry.createEntry(this.builder, this.string(key), this.string(value)),
    );
  }

  attributes(node: Node): Offset[] {
    const specs = this.#registry.get(node.domain, node.op, node.version).attributes;
    return Object.entries(node.attributes satisfies Attributes).map(([name, value]) => {
      const kind = specs[name]!.kind;
      const b = this.builder;
      const offset = attributeEncoders[kind](this, value);
      return fb.Attribute.createAttribute(b, this.string(name), attributeTags[kind], offset);
    });
  }

  encodeOps(): Offset[] {
    return this.#ops.items.map(({ domain, op, version }) =>
      fb.OpRef.createOpRef(this.builder, this.string(domain), this.string(op), version),
    );
  }

  encodeTypes(): Offset[] {
    return this.#types.items.map(({ dtype, shape }) => {
      const dims = fb.TensorType.createDimsVector(
        this.builder,
        shape.map((dim) => this.dim(dim)),
      );
      return fb.TensorType.createTensorType(this.builder, fb.DType[dtype], dims);
    });
  }

  encodeDimExpressions(): Offset[] {
    return this.#dims.items.map((dim) => this.string(dim));
  }
}

const attributeTags: Record<AttributeKind, fb.AttributeValue> = {
  int: fb.AttributeValue.IntAttribute,
  f64: fb.AttributeValue.FloatAttribute,
  bool: fb.AttributeValue.BoolAttribute,
  string: fb.AttributeValue.StringAttribute,
  dtype: fb.AttributeValue.DTypeAttribute,
  ints: fb.AttributeValue.IntsAttribute,
  dims: fb.AttributeValue.DimsAttribute,
};

/** The verifier has already matched each value with its attribute's kind. */
const attributeEncoders: Record<AttributeKind, (tables: HeaderTables, value: AttributeValue) => Offset> = {
  int: ({ builder: b }, value) => fb.IntAttribute.createIntAttribute(b, BigInt(value as number)),
  f64: ({ builder: b }, value) => {
    fb.FloatAttribute.startFloatAttribute(b);
    b.forceDefaults(Object.is(value, -0));
    fb.FloatAttribute.addValue(b, value as number);
    b.forceDefaults(false);
    return fb.FloatAttribute.endFloatAttribute(b);
  },
  bool: ({ builder: b }, value) => fb.BoolAttribute.createBoolAttribute(b, value as boolean),
  string: (tables, value) => fb.StringAttribute.createStringAttribute(tables.builder, tables.string(value as string)),
  dtype: ({ builder: b }, value) => fb.DTypeAttribute.createDTypeAttribute(b, fb.DType[value as DType]),
  ints: ({ builder: b }, value) =>
    fb.IntsAttribute.createIntsAttribute(
      b,
      fb.IntsAttribute.createValuesVector(b, (value as readonly number[]).map(BigInt)),
    ),
  dims: (tables, value) => {
    const dims = (value as readonly Dim[]).map((dim) => tables.dim(dim));
    return fb.DimsAttribute.createDimsAttribute(
      tables.builder,
      fb.DimsAttribute.createValuesVector(tables.builder, dims),
    );
  },
};
