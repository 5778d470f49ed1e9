export { BF16_OPERAND_MIN, flushBf16Operand } from './bf16-operand.ts';
export { canonicalSum } from './canonical-sum.ts';
export { exp32, log32 } from './elementary.ts';
export { QuaverError, type QuaverErrorDetails } from './error.ts';
export { bitsToF32, f32ToBits } from './float-bits.ts';
export type { FloatFormat, FloatFormatName } from './formats/float-format.ts';
export {
  bf16,
  f8e4m3fn,
  f8e4m3fnuz,
  f8e5m2,
  f8e5m2fnuz,
  f8e8m0fnu,
  f16,
  floatFormats,
} from './formats/float-formats.ts';
export { type MismatchMetrics, mismatchMetrics } from './mismatch.ts';
export { normalQuantile } from './normal-quantile.ts';
export { fillNormal, philox4x32, uniform, type Words4 } from './random.ts';
export { computeScale, type ScaleOptions, type ScaleRounding } from './scale.ts';
export { QuantizationStats, type QuantizationSummary, snr, ulpDistance } from './stats.ts';
