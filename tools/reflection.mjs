/**
 * @file Reads the reflection data of a FlatBuffers schema (a .bfbs file) into the tables that the structural
 * verifier walks. Slots and type numbers below are those of FlatBuffers' reflection.fbs.
 */

const scalarSizes = { 1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 4, 8: 4, 9: 8, 10: 8, 11: 4, 12: 8 };
const BOOL = 2;
const STRING = 13;
const VECTOR = 14;
const OBJECT = 15;
const UNION = 16;

/** A table of the .bfbs buffer, read by field slot. */
function tableReader(view, position) {
  const vtable = position - view.getInt32(position, true);
  const size = view.getUint16(vtable, true);
  const at = (slot) => {
    const offset = slot < size ? view.getUint16(vtable + slot, true) : 0;
    return offset === 0 ? undefined : position + offset;
  };
  const follow = (where) => where + view.getUint32(where, true);
  const string = (slot) => {
    const where = at(slot);
    if (where === undefined) return '';
    const start = follow(where);
    const bytes = new Uint8Array(view.buffer, view.byteOffset + start + 4, view.getUint32(start, true));
    return new TextDecoder().decode(bytes);
  };
  const table = (slot) => {
    const where = at(slot);
    return where === undefined ? undefined : tableReader(view, follow(where));
  };
  const tables = (slot) => {
    const where = at(slot);
    if (where === undefined) return [];
    const start = follow(where);
    return Array.from({ length: view.getUint32(start, true) }, (_, i) => tableReader(view, follow(start + 4 + 4 * i)));
  };
  const number = (slot, read, missing) => {
    const where = at(slot);
    return where === undefined ? missing : read(where);
  };
  return {
    string,
    table,
    tables,
    u8: (slot) => number(slot, (where) => view.getUint8(where), 0),
    u16: (slot) => number(slot, (where) => view.getUint16(where, true), 0),
    i32: (slot, missing) => number(slot, (where) => view.getInt32(where, true), missing),
    i64: (slot) => number(slot, (where) => Number(view.getBigInt64(where, true)), 0),
  };
}

function elementType(base, index, enums, tableNames) {
  if (base === STRING) return { kind: 'string' };
  if (base === OBJECT) return { kind: 'table', table: tableNames[index] };
  if (base === BOOL) return { kind: 'scalar', size: 1, members: [0, 1] };
  const size = scalarSizes[base];
  if (index >= 0 && size !== 1) throw new Error('enums must take one byte');
  if (size === undefined) throw new Error(`base type ${base} is not supported by the structural verifier`);
  return index < 0 ? { kind: 'scalar', size } : { kind: 'scalar', size, members: enums[index].members };
}

function fieldType(type, slot, enums, tableNames) {
  const base = type.u8(4);
  const index = type.i32(8, -1);
  if (base === VECTOR) return { kind: 'vector', of: elementType(type.u8(6), index, enums, tableNames) };
  if (base === UNION) return { kind: 'union', tag: slot - 2, members: enums[index].tables };
  return elementType(base, index, enums, tableNames);
}

const shortName = (name) => name.slice(name.lastIndexOf('.') + 1);

/** `{identifier, root, tables: {Name: [{name, slot, required, type}]}}`, as `BinarySchema` of packages/ir declares it. */
export function readReflection(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const schema = tableReader(view, view.getUint32(0, true));
  const objects = schema.tables(4);
  const tableNames = objects.map((object) => shortName(object.string(4)));
  const enums = schema.tables(6).map((item) => {
    const values = item.tables(6);
    const unionMembers = values
      .map((value) => [value.i64(6), value.table(10)])
      .filter(([tag, type]) => tag !== 0 && type);
    return {
      members: values.map((value) => value.i64(6)),
      tables: Object.fromEntries(unionMembers.map(([tag, type]) => [tag, tableNames[type.i32(8, -1)]])),
    };
  });
  const tables = objects.map((object) => {
    if (object.u8(8)) throw new Error(`struct ${object.string(4)}: the structural verifier knows tables only`);
    const fields = object.tables(6).map((field) => {
      const slot = field.u16(10);
      return {
        name: field.string(4),
        slot,
        required: field.u8(18) !== 0,
        type: fieldType(field.table(6), slot, enums, tableNames),
      };
    });
    return [shortName(object.string(4)), fields.sort((a, b) => a.slot - b.slot)];
  });
  return {
    identifier: schema.string(8),
    root: shortName(schema.table(12).string(4)),
    tables: Object.fromEntries(tables),
  };
}
