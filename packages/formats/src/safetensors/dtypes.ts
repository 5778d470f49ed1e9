import type { TensorDType } from '../tensor-dtype.ts';

/**
 * The dtype names of safetensors, in the order of its specification's enumeration: files are laid out by descending
 * order in this list, then by name, which keeps every tensor aligned to its element size.
 */
const byOrder: readonly (readonly [name: string, dtype: TensorDType])[] = [
  ['BOOL', 'bool'],
  ['U8', 'u8'],
  ['I8', 'i8'],
  ['F8_E5M2', 'f8e5m2'],
  ['F8_E4M3', 'f8e4m3fn'],
  ['F8_E8M0', 'f8e8m0fnu'],
  ['F8_E4M3FNUZ', 'f8e4m3fnuz'],
  ['F8_E5M2FNUZ', 'f8e5m2fnuz'],
  ['I16', 'i16'],
  ['U16', 'u16'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['I32', 'i32'],
  ['U32', 'u32'],
  ['F32', 'f32'],
  ['F64', 'f64'],
  ['I64', 'i64'],
  ['U64', 'u64'],
];

const fromName: ReadonlyMap<string, TensorDType> = new Map(byOrder);
const ranks: ReadonlyMap<TensorDType, { readonly name: string; readonly rank: number }> = new Map(
  byOrder.map(([name, dtype], rank) => [dtype, { name, rank }]),
);

/** `undefined` for a name that safetensors or this reader does not know (`F4`, `C64`). */
export function dtypeFromSafetensors(name: string): TensorDType | undefined {
  return fromName.get(name);
}

export function safetensorsName(dtype: TensorDType): string {
  return ranks.get(dtype)!.name;
}

/** Sorts as the reference implementation does: wide dtypes first, then names by code point. */
export function compareForLayout(
  a: { readonly dtype: TensorDType; readonly name: string },
  b: { readonly dtype: TensorDType; readonly name: string },
): number {
  return ranks.get(b.dtype)!.rank - ranks.get(a.dtype)!.rank || compareCodePoints(a.name, b.name);
}

/** Order of UTF-8 bytes, which differs from JavaScript's UTF-16 order above U+FFFF. */
export function compareCodePoints(a: string, b: string): number {
  let i = 0;
  while (i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === a.length || i === b.length) return a.length - b.length;
  const surrogate = (code: number) => code >= 0xd800 && code <= 0xdfff;
  const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
  return surrogate(x) === surrogate(y) ? x - y : surrogate(x) ? 1 : -1;
}
