import type { HostTensor } from '@quaver/ir';
import { floatFormats, type QuantizationSummary } from '@quaver/numerics';
import type { Evaluation } from './folded-data.ts';
import type { OpExpression } from './parameter-expression.ts';

/** What quantizing a weight cost, and the range of its scales. */
export interface WeightStatistics extends QuantizationSummary {
  readonly scale_min: number;
  readonly scale_max: number;
}

/** Statistics of a `quantize` expression of rank 2 that was just evaluated; undefined for anything else. */
export function weightStatistics(expression: OpExpression, evaluation: Evaluation): WeightStatistics | undefined {
  const [x, scale] = expression.operands.map((operand) => operand && evaluation.get(operand));
  const codes = evaluation.get(expression);
  if (expression.op.name !== 'quantize' || x?.type.dtype !== 'f32' || !scale || !codes) return undefined;
  if (x.type.shape.length !== 2) return undefined;
  return measure(x, codes, scale, expression.attributes.block as readonly number[]);
}

/**
 * The figures of numerics' `QuantizationStats`, with x̂ = fround(decode(code) · scale) and sums in f64, in one loop over
 * all blocks: a compile looks at every weight of a model.
 */
function measure(x: HostTensor, codes: HostTensor, scale: HostTensor, block: readonly number[]): WeightStatistics {
  const [rows, columns] = x.type.shape as [number, number];
  const [blockRows, blockColumns] = [block[0] || rows, block[1] || columns];
  const scaleColumns = Math.ceil(columns / blockColumns);
  const scales = floatValues(scale);
  const format = floatFormats[codes.type.dtype as 'f8e4m3fn'];
  const values = decodeTable(format);
  const originals = x.data as Float32Array;
  const data = codes.data as Uint8Array;
  let [signal, noise, amax, saturated, underflow, nonFinite] = [0, 0, 0, 0, 0, 0];
  for (let row = 0; row < rows; row++) {
    const scaleRow = Math.floor(row / blockRows) * scaleColumns;
    for (let from = 0; from < columns; from += blockColumns) {
      const s = scales[scaleRow + from / blockColumns]!;
      const limit = format.maxRoundable * s;
      const end = row * columns + Math.min(columns, from + blockColumns);
      for (let i = row * columns + from; i < end; i++) {
        const original = originals[i]!;
        const magnitude = Math.abs(original);
        if (!(magnitude < Number.POSITIVE_INFINITY)) {
          nonFinite++;
          continue;
        }
        if (magnitude > amax) amax = magnitude;
        if (magnitude > limit) saturated++;
        const restored = Math.fround(values[data[i]!]! * s);
        if (restored === 0 && original !== 0) underflow++;
        signal += original * original;
        noise += (original - restored) * (original - restored);
      }
    }
  }
  const count = rows * columns;
  const percent = (part: number) => (count === 0 ? 0 : (100 * part) / count);
  return {
    count,
    amax,
    snr_db: noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise),
    saturated,
    saturated_percent: percent(saturated),
    underflow,
    underflow_percent: percent(underflow),
    non_finite: nonFinite,
    scale_min: scales.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY),
    scale_max: scales.reduce((most, value) => Math.max(most, value), 0),
  };
}

/** The scales as f32; codes of E8M0 decoded. */
function floatValues({ type, data }: HostTensor): Float32Array {
  if (type.dtype === 'f32') return data as Float32Array;
  return Float32Array.from(data as Uint8Array, (code) => floatFormats.f8e8m0fnu.decode(code));
}

function decodeTable(format: { decode(code: number): number }): Float64Array {
  return Float64Array.from({ length: 256 }, (_, code) => format.decode(code));
}
