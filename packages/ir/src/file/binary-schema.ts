/**
 * @file What the structural verifier knows about a FlatBuffers schema. Instances are generated from the schema's
 * reflection data (`gen/schema.ts`).
 */

/** A value that a field or a vector element holds. `members` lists what an enum or a bool may be. */
export type ElementType =
  | { readonly kind: 'scalar'; readonly size: number; readonly members?: readonly number[] }
  | { readonly kind: 'string' }
  | { readonly kind: 'table'; readonly table: string };

/** A union's member tables by tag; its tag is the one-byte field at vtable slot `tag`. */
export interface UnionType {
  readonly kind: 'union';
  readonly tag: number;
  readonly members: Readonly<Record<string, string>>;
}

export interface VectorType {
  readonly kind: 'vector';
  readonly of: ElementType;
}

export interface FieldSchema {
  readonly name: string;
  /** Byte offset of the field's entry in the vtable. */
  readonly slot: number;
  readonly required: boolean;
  readonly type: ElementType | UnionType | VectorType;
}

export interface BinarySchema {
  /** Four characters after the root offset. */
  readonly identifier: string;
  readonly root: string;
  readonly tables: Readonly<Record<string, readonly FieldSchema[]>>;
}
