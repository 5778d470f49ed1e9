/** @file Parses tensor types, dimensions and attribute values of the text form. */
import { type Dim, parseDim } from '../dim.ts';
import { type DType, isDType } from '../dtype.ts';
import type { AttributeValue } from '../module.ts';
import type { TensorType } from '../type.ts';
import { MAX_RANK } from '../verify-types.ts';
import type { Scanner } from './scanner.ts';

/** `bf16[B,4096]` */
export function parseType(scanner: Scanner): TensorType {
  const position = scanner.position;
  const dtype = scanner.identifier('a type such as f32[B,64]');
  if (!isDType(dtype)) scanner.refuse('text-syntax', `expected a dtype, found '${dtype}'`, position);
  scanner.expect('[');
  const shape = scanner.list(']', () => parseDimension(scanner));
  if (shape.length > MAX_RANK) scanner.refuse('text-syntax', `rank ${shape.length} is above ${MAX_RANK}`, position);
  return { dtype: dtype as DType, shape };
}

/** A dimension in any form; the result is canonical. */
export function parseDimension(scanner: Scanner): Dim {
  const position = scanner.position;
  const text = productText(scanner, 0);
  return scanner.at(position, () => parseDim(/^\d+$/.test(text) ? Number(text) : text));
}

function productText(scanner: Scanner, depth: number): string {
  const factors = [factorText(scanner, depth)];
  while (scanner.accept('*')) factors.push(factorText(scanner, depth));
  return factors.join('*');
}

function factorText(scanner: Scanner, depth: number): string {
  if (scanner.seesNumber()) return String(scanner.count('a size'));
  const name = scanner.identifier('a dimension such as 64, B or 2*B*T');
  if (name !== 'ceildiv' || !scanner.accept('(')) return name;
  if (depth >= 8) scanner.fail('fewer than eight nested ceildiv');
  const dividend = productText(scanner, depth + 1);
  scanner.expect(',');
  const divisor = scanner.count('a divisor');
  scanner.expect(')');
  return `ceildiv(${dividend},${divisor})`;
}

export function parseAttributeValue(scanner: Scanner): AttributeValue {
  if (scanner.accept('[')) return scanner.list(']', () => parseListItem(scanner)) as readonly Dim[];
  if (scanner.sees('"')) return scanner.string('a string');
  if (scanner.seesNumber()) return scanner.number();
  const word = scanner.identifier('a number, a word, a string or a list');
  return word === 'true' || word === 'false' ? word === 'true' : word;
}

function parseListItem(scanner: Scanner): Dim {
  if (!scanner.accept('-')) return parseDimension(scanner);
  return -scanner.count('a number');
}
