/**
 * @file The records of a run: one JSON object a line. JSON has no NaN and no infinities, so those are written as the strings
 * "NaN", "Infinity" and "-Infinity", and become numbers again when they are read.
 */
import { z } from 'zod';

/** Numbers of one optimizer step; the line of `metrics.jsonl`. Other numbers may stand beside these. */
export interface StepRecord {
  /** Steps done, this one included: the first record has 1. */
  readonly step: number;
  /** Mean training loss of the step, in nats per token. */
  readonly loss: number;
  /** Mean validation loss, in nats per token; only where the step was followed by an evaluation. */
  readonly val_loss?: number | undefined;
  /** Learning rate of the step. */
  readonly lr: number;
  /** Global L2 norm of the gradient before clipping. */
  readonly grad_norm: number;
  /** Tokens that the step trained on. */
  readonly tokens: number;
  readonly tokens_per_s: number;
  /** 1 when the step changed nothing because its gradient was not finite. */
  readonly skipped?: number | undefined;
  /** Wall-clock seconds by phase: `data`, `forward_backward`, `update`, `evaluate`, `checkpoint`, … */
  readonly seconds: Readonly<Record<string, number>>;
  readonly [name: string]: number | Readonly<Record<string, number>> | undefined;
}

/** What FP8 did to one tensor in one step; a line of `quantization.jsonl`. */
export interface QuantizationRecord {
  readonly step: number;
  /** Name of the tensor, with its role where one tensor is quantized in several: `layers.0.mlp.up.weight`. */
  readonly tensor: string;
  /** Share of the elements that the format could not reach and that were clipped, 0 … 1. */
  readonly saturated: number;
  /** Share of the elements that are not zero and became zero, 0 … 1. */
  readonly underflow: number;
  /** Largest finite magnitude before quantization. */
  readonly amax: number;
}

const notFinite = { NaN: Number.NaN, Infinity: Number.POSITIVE_INFINITY, '-Infinity': Number.NEGATIVE_INFINITY };
const real = z.union([
  z.number(),
  z.enum(['NaN', 'Infinity', '-Infinity']).transform((text) => notFinite[text]),
]) satisfies z.ZodType<number>;
const step = z.int().min(0);
const numbers = z.record(z.string(), real);

/** @internal What a line of `metrics.jsonl` may be. */
export const stepRecordSchema: z.ZodType<StepRecord> = z
  .object({
    step,
    loss: real,
    val_loss: real.optional(),
    lr: real,
    grad_norm: real,
    tokens: real,
    tokens_per_s: real,
    skipped: real.optional(),
    seconds: numbers,
  })
  .catchall(z.union([real, numbers]));

/** @internal What a line of `quantization.jsonl` may be. */
export const quantizationRecordSchema: z.ZodType<QuantizationRecord> = z.object({
  step,
  tensor: z.string(),
  saturated: real,
  underflow: real,
  amax: real,
});

/** One line of JSON without its newline. Fields that are `undefined` are left out. */
export function encodeRecord(record: object): string {
  return JSON.stringify(record, (_, value) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  );
}
