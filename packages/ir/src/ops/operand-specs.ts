import { type DType, dtypes, fp8DTypes } from '../dtype.ts';

/** Operand specs that many ops share; spread them to add a rank or `optional: true`. */
export const f32: { readonly dtypes: readonly DType[] } = { dtypes: ['f32'] };
export const i32: { readonly dtypes: readonly DType[] } = { dtypes: ['i32'] };
export const bool: { readonly dtypes: readonly DType[] } = { dtypes: ['bool'] };
export const anyDType: { readonly dtypes: readonly DType[] } = { dtypes };
export const f32OrI32: { readonly dtypes: readonly DType[] } = { dtypes: ['f32', 'i32'] };
/** A value before quantization. */
export const highPrecision: { readonly dtypes: readonly DType[] } = { dtypes: ['f32', 'bf16'] };
export const fp8: { readonly dtypes: readonly DType[] } = { dtypes: fp8DTypes };
export const fp8OrBf16: { readonly dtypes: readonly DType[] } = { dtypes: [...fp8DTypes, 'bf16'] };
export const scale: { readonly dtypes: readonly DType[] } = { dtypes: ['f32', 'f8e8m0fnu'] };
