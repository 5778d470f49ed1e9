/** @file Reads what the tables of a structurally sound header share, and checks every index and integer in it. */
import { QuaverError } from '@quaver/numerics';
import { Encoding } from 'flatbuffers';
import type { Dim } from '../dim.ts';
import type { DType } from '../dtype.ts';
import * as fb from '../gen/ir.ts';
import type { Attributes, AttributeValue } from '../module.ts';
import type { TensorType } from '../type.ts';
import { MAX_RANK } from '../verify-types.ts';
import type { Opset } from './layout.ts';

type TextField<K extends string> = Readonly<Record<K, (encoding: Encoding) => string | Uint8Array | null>>;

export class HeaderReader {
  /** Unlike the accessors' own decoder, this one keeps a byte order mark. */
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  readonly #root: fb.Module;
  readonly #dims: readonly string[];
  readonly #types: readonly TensorType[];
  readonly ops: readonly { readonly domain: string; readonly op: string; readonly version: number }[];

  constructor(root: fb.Module) {
    this.#root = root;
    this.#dims = this.list(root.dimExpressionsLength(), (i) =>
      this.#decode(root.dimExpressions(i, Encoding.UTF8_BYTES)),
    );
    this.#types = this.list(root.typesLength(), (i) => this.#decodeType(root.types(i)!));
    this.ops = this.list(root.opsLength(), (i) => {
      const op = root.ops(i)!;
      return { domain: this.text(op, 'domain'), op: this.text(op, 'name'), version: op.version() };
    });
  }

  opsets(): Opset[] {
    return this.list(this.#root.opsetsLength(), (i) => {
      const opset = this.#root.opsets(i)!;
      return { domain: this.text(opset, 'domain'), version: opset.version() };
    });
  }

  list<T>(length: number, item: (i: number) => T): T[] {
    const items: T[] = [];
    for (let i = 0; i < length; i++) items.push(item(i));
    return items;
  }

  /** A string field; absent ones are empty. */
  text<K extends string>(table: TextField<K>, field: K): string {
    return this.#decode(table[field](Encoding.UTF8_BYTES));
  }

  type(index: number): TensorType {
    return this.at(this.#types, index, 'type');
  }

  dim(code: bigint): Dim {
    return code >= 0n
      ? this.integer(code, 'dimension')
      : this.at(this.#dims, this.integer(-1n - code, 'dimension'), 'dimension');
  }

  integer(value: bigint, what: string): number {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new QuaverError('module-integer', `the ${what} ${value} is beyond 2^53`);
  }

  at<T>(items: readonly T[], index: number, what: string): T {
    const item = items[index];
    if (item !== undefined) return item;
    throw new QuaverError('module-index', `${what} ${index} is referenced, there are ${items.length}`, {
      hint: 'The file was damaged: write or download it again.',
    });
  }

  /** Key-value pairs in stored order. */
  entries(length: number, entry: (i: number) => fb.Entry): Readonly<Record<string, string>> {
    return this.record(this.list(length, (i) => [this.text(entry(i), 'key'), this.text(entry(i), 'value')] as const));
  }

  attributes(node: fb.Node): Attributes {
    return this.record(
      this.list(node.attributesLength(), (i) => {
        const attribute = node.attributes(i)!;
        return [this.text(attribute, 'name'), attributeDecoders[attribute.valueType()](this, attribute)] as const;
      }),
    );
  }

  record<T>(entries: readonly (readonly [string, T])[]): Readonly<Record<string, T>> {
    const record = Object.fromEntries(entries);
    if (Object.keys(record).length === entries.length) return record;
    throw new QuaverError(
      'module-duplicate-key',
      `a key is stored twice among ${entries.map(([key]) => key).join(', ')}`,
    );
  }

  #decode(bytes: string | Uint8Array | null): string {
    return typeof bytes === 'string' ? bytes : this.#utf8.decode(bytes ?? new Uint8Array(0));
  }

  #decodeType(type: fb.TensorType): TensorType {
    if (type.dimsLength() > MAX_RANK) throw new QuaverError('module-type', `a type has rank ${type.dimsLength()}`);
    return { dtype: dtypeName(type.dtype()), shape: this.list(type.dimsLength(), (i) => this.dim(type.dims(i)!)) };
  }
}

/** The schema's names are the IR's; the structural verifier has checked membership. */
function dtypeName(code: fb.DType): DType {
  return fb.DType[code] as DType;
}

type AttributeDecoder = (reader: HeaderReader, attribute: fb.Attribute) => AttributeValue;

const attributeDecoders: Record<fb.AttributeValue, AttributeDecoder> = {
  [fb.AttributeValue.NONE]: () => {
    throw new QuaverError('module-structure', 'an attribute has no value');
  },
  [fb.AttributeValue.IntAttribute]: (reader, attribute) =>
    reader.integer((attribute.value(new fb.IntAttribute()) as fb.IntAttribute).value(), 'attribute'),
  [fb.AttributeValue.FloatAttribute]: (_, attribute) =>
    (attribute.value(new fb.FloatAttribute()) as fb.FloatAttribute).value(),
  [fb.AttributeValue.BoolAttribute]: (_, attribute) =>
    (attribute.value(new fb.BoolAttribute()) as fb.BoolAttribute).value(),
  [fb.AttributeValue.StringAttribute]: (reader, attribute) =>
    reader.text(attribute.value(new fb.StringAttribute()) as fb.StringAttribute, 'value'),
  [fb.AttributeValue.DTypeAttribute]: (_, attribute) =>
    dtypeName((attribute.value(new fb.DTypeAttribute()) as fb.DTypeAttribute).value()),
  [fb.AttributeValue.IntsAttribute]: (reader, attribute) => {
    const ints = attribute.value(new fb.IntsAttribute()) as fb.IntsAttribute;
    return reader.list(ints.valuesLength(), (i) => reader.integer(ints.values(i)!, 'attribute'));
  },
  [fb.AttributeValue.DimsAttribute]: (reader, attribute) => {
    const dims = attribute.value(new fb.DimsAttribute()) as fb.DimsAttribute;
    return reader.list(dims.valuesLength(), (i) => reader.dim(dims.values(i)!));
  },
};
