import type { QuantizationRecord, StepRecord } from '../../src/index.ts';

/** A record as a training that goes well writes it. */
export function stepRecord(step: number, more: Partial<StepRecord> = {}): StepRecord {
  return {
    step,
    loss: 4 / step + 2,
    lr: 0.001,
    grad_norm: 1.5,
    tokens: 2048,
    tokens_per_s: 1000 + step,
    seconds: { data: 0.01, forward_backward: 1, update: 0.25, evaluate: 0, checkpoint: 0 },
    ...more,
  };
}

export function quantizationRecord(step: number, tensor: string): QuantizationRecord {
  return { step, tensor, saturated: 0.001 * step, underflow: 0.02, amax: 3.5 };
}
