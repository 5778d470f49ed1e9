/**
 * @file Checks that bytes are a well-formed FlatBuffer of a schema before any generated accessor touches them.
 *
 * Accessors trust every offset and length: out of range they read zeros or a neighbour's memory, and cycles or shared
 * children make a walk over a few kilobytes take forever. The verifier follows each reference once, inside `bytes`,
 * and charges what it visits against a budget proportional to the buffer, so its own work is linear.
 */
import { QuaverError } from '@quaver/numerics';
import type { BinarySchema, ElementType, FieldSchema, UnionType, VectorType } from './binary-schema.ts';

/** Tables nested deeper than this are refused. */
const MAX_DEPTH = 64;
/** A tree visits each byte at most once; the factor leaves room for writers that share strings. */
const WORK_FACTOR = 2;
const MAX_UOFFSET = 0x7fffffff;

interface Place {
  readonly table: string;
  readonly field: string;
}

interface TableView {
  readonly position: number;
  /** Absolute position of a field, or undefined when the table does not store it. */
  field(slot: number, size: number, place: Place): number | undefined;
}

class StructureVerifier {
  readonly #schema: BinarySchema;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true });
  #budget: number;

  constructor(schema: BinarySchema, bytes: Uint8Array) {
    this.#schema = schema;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#budget = WORK_FACTOR * bytes.byteLength;
  }

  /** The root table's position; checks the identifier. */
  root(start: number): number {
    const place = { table: this.#schema.root, field: 'root' };
    this.#range(start, 8, 4, place);
    const identifier = String.fromCharCode(...this.#bytes.subarray(start + 4, start + 8));
    if (identifier !== this.#schema.identifier) {
      throw new QuaverError(
        'module-identifier',
        `the header's identifier is ${JSON.stringify(identifier)}, expected "${this.#schema.identifier}"`,
        { hint: 'The file is not a .qvr module, or its beginning was overwritten.', where: { byte: start + 4 } },
      );
    }
    return this.#follow(start, place);
  }

  table(name: string, position: number, depth: number): void {
    const place = { table: name, field: '(table)' };
    if (depth > MAX_DEPTH) this.#fail(position, place, `tables are nested more than ${MAX_DEPTH} deep`);
    const table = this.open(position, place);
    for (const field of this.#schema.tables[name]!)
      this.#field(table, field, { table: name, field: field.name }, depth);
  }

  /** Checks a table's vtable and inline size. */
  open(position: number, place: Place): TableView {
    this.#range(position, 4, 4, place);
    const vtable = position - this.#view.getInt32(position, true);
    this.#range(vtable, 4, 2, place);
    const vtableSize = this.#view.getUint16(vtable, true);
    const tableSize = this.#view.getUint16(vtable + 2, true);
    if (vtableSize < 4 || vtableSize % 2 !== 0) this.#fail(vtable, place, `the vtable has ${vtableSize} bytes`);
    if (tableSize < 4) this.#fail(vtable, place, `the table has ${tableSize} bytes`);
    this.#range(vtable, vtableSize, 2, place);
    this.#visit(position, tableSize, 4, place);
    const field = (slot: number, size: number, at: Place) => {
      const offset = slot < vtableSize ? this.#view.getUint16(vtable + slot, true) : 0;
      if (offset === 0) return undefined;
      if (offset < 4 || offset + size > tableSize)
        this.#fail(vtable + slot, at, `field offset ${offset} is outside its table`);
      if ((position + offset) % size !== 0)
        this.#fail(position + offset, at, `a field of ${size} bytes is not aligned`);
      return position + offset;
    };
    return { position, field };
  }

  #field(table: TableView, { slot, required, type }: FieldSchema, place: Place, depth: number): void {
    const where = table.field(slot, type.kind === 'scalar' ? type.size : 4, place);
    if (type.kind === 'union') {
      this.#union(table, where, type, place, depth);
    } else if (where !== undefined) {
      if (type.kind === 'vector') this.#vector(this.#follow(where, place), type, place, depth);
      else this.#element(where, type, place, depth);
    }
    if (required && where === undefined) this.#fail(table.position, place, 'a required field is missing');
  }

  #union(table: TableView, where: number | undefined, type: UnionType, place: Place, depth: number): void {
    const tagPosition = table.field(type.tag, 1, place);
    const tag = tagPosition === undefined ? 0 : this.#bytes[tagPosition]!;
    if ((tag === 0) !== (where === undefined)) {
      this.#fail(table.position, place, `the union has tag ${tag} and ${where === undefined ? 'no value' : 'a value'}`);
    }
    if (where === undefined) return;
    const member = type.members[tag];
    if (member === undefined) this.#fail(table.position, place, `the union has the unknown tag ${tag}`);
    this.table(member!, this.#follow(where, place), depth + 1);
  }

  #vector(position: number, { of }: VectorType, place: Place, depth: number): void {
    this.#range(position, 4, 4, place);
    const length = this.#view.getUint32(position, true);
    const size = of.kind === 'scalar' ? of.size : 4;
    this.#visit(position + 4, length * size, size, place);
    if (of.kind === 'scalar' && of.members === undefined) return;
    for (let i = 0; i < length; i++) this.#element(position + 4 + i * size, of, place, depth);
  }

  #element(where: number, type: ElementType, place: Place, depth: number): void {
    switch (type.kind) {
      case 'scalar':
        this.#member(where, type.members, place);
        break;
      case 'string':
        this.#string(this.#follow(where, place), place);
        break;
      case 'table':
        this.table(type.table, this.#follow(where, place), depth + 1);
    }
  }

  /** Enums and bools take one byte in every schema of ours; codegen sees to it. */
  #member(where: number, members: readonly number[] | undefined, place: Place): void {
    if (members === undefined) return;
    const value = this.#bytes[where]!;
    if (!members.includes(value)) this.#fail(where, place, `${value} is not one of ${members.length} known values`);
  }

  #string(position: number, place: Place): void {
    this.#range(position, 4, 4, place);
    const length = this.#view.getUint32(position, true);
    this.#visit(position + 4, length, 1, place);
    const end = position + 4 + length;
    this.#range(end, 1, 1, place);
    if (this.#bytes[end] !== 0) this.#fail(end, place, 'a string is not terminated by a zero byte');
    for (let i = position + 4; i < end; i++) {
      if (this.#bytes[i]! < 0x80) continue;
      try {
        this.#utf8.decode(this.#bytes.subarray(i, end));
      } catch {
        this.#fail(position, place, 'a string is not valid UTF-8');
      }
      return;
    }
  }

  /** Follows the unsigned offset stored at `where`. */
  #follow(where: number, place: Place): number {
    this.#range(where, 4, 4, place);
    const offset = this.#view.getUint32(where, true);
    if (offset === 0 || offset > MAX_UOFFSET) this.#fail(where, place, `offset ${offset} is not a forward reference`);
    this.#range(where + offset, 4, 1, place);
    return where + offset;
  }

  #visit(position: number, size: number, align: number, place: Place): void {
    this.#range(position, size, size === 0 ? 1 : align, place);
    this.#budget -= size;
    if (this.#budget < 0) this.#fail(position, place, 'the same bytes are referenced again and again');
  }

  #range(position: number, size: number, align: number, place: Place): void {
    if (position < 0 || position + size > this.#bytes.byteLength) {
      this.#fail(position, place, `${size} bytes reach outside the header of ${this.#bytes.byteLength} bytes`);
    }
    if (position % align !== 0) this.#fail(position, place, `not aligned to ${align} bytes`);
  }

  #fail(byte: number, { table, field }: Place, problem: string): void {
    throw new QuaverError('module-structure', `the header is corrupt at byte ${byte}, ${table}.${field}: ${problem}`, {
      hint: 'The file was damaged or is not what its name says: write or download it again.',
      where: { byte, table, field },
    });
  }
}

/**
 * Checks the FlatBuffer whose root offset is at `start`; `bytes` must end where the buffer ends.
 * Work and stack are bounded by the size of `bytes`.
 * @throws QuaverError `module-identifier`, `module-structure`
 */
export function verifyStructure(schema: BinarySchema, bytes: Uint8Array, start: number): void {
  const verifier = new StructureVerifier(schema, bytes);
  verifier.table(schema.root, verifier.root(start), 0);
}

/**
 * A 32-bit field of the root table, read before anything else is known about the buffer (0 when absent).
 * @throws QuaverError `module-identifier`, `module-structure`
 */
export function peekRootField(schema: BinarySchema, bytes: Uint8Array, start: number, slot: number): number {
  const verifier = new StructureVerifier(schema, bytes);
  const place = { table: schema.root, field: '(table)' };
  const where = verifier.open(verifier.root(start), place).field(slot, 4, place);
  return where === undefined
    ? 0
    : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(where, true);
}
