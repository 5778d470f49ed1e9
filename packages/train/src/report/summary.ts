/** @file The figures of a run that stand before its plots. */
import type { StepRecord } from '../metrics/records.ts';

export interface RunSummary {
  /** Of the last record. */
  readonly steps: number;
  readonly tokens: number;
  /** Of the last step. */
  readonly loss: number;
  /** Of the last evaluation. */
  readonly valLoss: number | undefined;
  /** The lowest of all evaluations, and its step. */
  readonly best: { readonly step: number; readonly valLoss: number } | undefined;
  /** Median over the steps. */
  readonly tokensPerSecond: number;
  /** Steps that changed nothing because their gradient was not finite. */
  readonly skipped: number;
  readonly notFiniteLosses: number;
}

/** @param steps at least one */
export function summarize(steps: readonly StepRecord[]): RunSummary {
  const last = steps.at(-1)!;
  const evaluated = steps.filter((record) => record.val_loss !== undefined);
  let best: RunSummary['best'];
  for (const { step, val_loss: valLoss } of evaluated) {
    if (Number.isFinite(valLoss) && (best === undefined || valLoss! < best.valLoss)) best = { step, valLoss: valLoss! };
  }
  return {
    steps: last.step,
    tokens: steps.reduce((sum, { tokens }) => sum + tokens, 0),
    loss: last.loss,
    valLoss: evaluated.at(-1)?.val_loss,
    best,
    tokensPerSecond: median(steps.map((record) => record.tokens_per_s)),
    skipped: steps.reduce((sum, { skipped }) => sum + (skipped ?? 0), 0),
    notFiniteLosses: steps.filter(({ loss }) => !Number.isFinite(loss)).length,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
