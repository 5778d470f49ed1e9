/** @file What binds the phases of a run: arithmetic, memory, or neither. */
import type { RlRecord } from '../loop/records.ts';
import type { Limits } from './limits.ts';

export interface PhaseRoofline {
  readonly phase: 'rollouts' | 'training';
  readonly flops_per_s: number;
  readonly bytes_per_s: number;
  /** Of the limits of the executor. */
  readonly flops_share: number;
  readonly bytes_share: number;
  /**
   * The limit that is nearer; `neither` where both are far: calls are too small to fill the executor; `unknown` where more was
   * reached than what was measured as the limit: something else ran then, or it was in a cache.
   */
  readonly bound: 'arithmetic' | 'memory' | 'neither' | 'unknown';
}

export interface Roofline {
  readonly limits: Limits;
  /** Those that took any time. */
  readonly phases: readonly PhaseRoofline[];
}

/** Shares below this bind nothing. */
const nearLimit = 0.25;
/** What is in a cache is read faster than memory. */
const beyondLimit = 1.1;

function boundOf(flops: number, bytes: number): PhaseRoofline['bound'] {
  if (Math.max(flops, bytes) > beyondLimit) return 'unknown';
  if (Math.max(flops, bytes) < nearLimit) return 'neither';
  return flops > bytes ? 'arithmetic' : 'memory';
}

export function rooflineOf(limits: Limits, records: readonly RlRecord[]): Roofline {
  const total = (of: (record: RlRecord) => number | undefined) =>
    records.reduce((sum, each) => sum + (of(each) ?? 0), 0);
  const phase = (name: PhaseRoofline['phase'], gflop: number, gbyte: number, seconds: number): PhaseRoofline[] => {
    if (seconds === 0) return [];
    const [flops_per_s, bytes_per_s] = [(1e9 * gflop) / seconds, (1e9 * gbyte) / seconds];
    const [flops_share, bytes_share] = [flops_per_s / limits.flops_per_s, bytes_per_s / limits.bytes_per_s];
    const bound = boundOf(flops_share, bytes_share);
    return [{ phase: name, flops_per_s, bytes_per_s, flops_share, bytes_share, bound }];
  };
  const seconds = (...names: string[]) =>
    total((record) => names.reduce((sum, name) => sum + (record.seconds[name] ?? 0), 0));
  return {
    limits,
    phases: [
      ...phase(
        'rollouts',
        total((r) => r.rollout_gflop),
        total((r) => r.rollout_gbyte),
        seconds('rollout'),
      ),
      ...phase(
        'training',
        total((r) => r.train_gflop),
        total((r) => r.train_gbyte),
        seconds('logprobs', 'forward_backward'),
      ),
    ],
  };
}

/** A line for people. */
export function rooflineText({ limits, phases }: Roofline): string {
  const giga = (value: number) => (value / 1e9).toPrecision(3);
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const binds = {
    arithmetic: 'bound by arithmetic',
    memory: 'bound by memory',
    neither: 'bound by neither: calls are small',
    unknown: 'beyond the limit that was measured',
  };
  const parts = phases.map(
    ({ phase, flops_per_s: flops, bytes_per_s: bytes, flops_share, bytes_share, bound }) =>
      `${phase} ${giga(flops)} GFLOP/s (${percent(flops_share)}) and ${giga(bytes)} GB/s (${percent(bytes_share)}), ${binds[bound]}`,
  );
  return `Roofline: ${parts.join('; ')}. Limits measured on the executor: ${giga(limits.flops_per_s)} GFLOP/s in a BF16 product, ${giga(limits.bytes_per_s)} GB/s.`;
}
