import { type DType, parseDim, type TensorType } from '@quaver/ir';

/** Reads `bf16[B,4096]`. */
export function typeOf(text: string): TensorType {
  const [, dtype, dims] = /^(\w+)\[(.*)\]$/.exec(text)!;
  const shape = dims === '' ? [] : splitDims(dims!).map((dim) => parseDim(/^\d+$/.test(dim) ? Number(dim) : dim));
  return { dtype: dtype as DType, shape };
}

/** Splits at commas outside of parentheses. */
function splitDims(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}
