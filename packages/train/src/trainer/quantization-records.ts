/** @file What FP8 does to the tensors of a step, measured by functions that a run compiles only when it records that. */
import { measureQuantization, type QuantizationMeasure, quantizeWeightsName } from '@quaver/compiler';
import { bindType, concreteElementCount, type DimBindings, type Module } from '@quaver/ir';
import type { QuantizationRecord } from '../metrics/records.ts';

/** A record without its step. */
export type QuantizationEffect = Omit<QuantizationRecord, 'step'>;

/**
 * The compiled module with functions that measure `backward` (inputs and gradients of the products) and `quantize_weights`; none
 * where nothing is quantized.
 */
export function withMeasures(module: Module): {
  readonly module: Module;
  readonly measures: readonly QuantizationMeasure[];
} {
  let measured = module;
  const measures: QuantizationMeasure[] = [];
  for (const name of [quantizeWeightsName, 'backward']) {
    const added = measureQuantization(measured, name);
    if (!added) continue;
    measured = added.module;
    measures.push(added.measure);
  }
  return { module: measured, measures };
}

/**
 * The shares of elements out of the counts that a measuring function gave.
 * @param counts f32[3·N]: amax, saturated, underflow of each tensor of the measure
 * @param symbols the sizes of the call
 */
export function effectsOf(
  { tensors }: QuantizationMeasure,
  counts: ArrayLike<number>,
  symbols: DimBindings,
): QuantizationEffect[] {
  return tensors.map(({ tensor, type }, i) => {
    const elements = Math.max(1, concreteElementCount(bindType(type, symbols)));
    const [amax = 0, saturated = 0, underflow = 0] = [0, 1, 2].map((part) => counts[3 * i + part]!);
    return { tensor, saturated: saturated / elements, underflow: underflow / elements, amax };
  });
}
