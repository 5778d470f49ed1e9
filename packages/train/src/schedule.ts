import { QuaverError } from '@quaver/numerics';

/** How the learning rate goes from its peak to its end. */
export type Decay = 'constant' | 'linear' | 'cosine' | 'wsd';

const decays: readonly Decay[] = ['constant', 'linear', 'cosine', 'wsd'];

export interface ScheduleOptions {
  readonly decay: Decay;
  /** The largest rate. */
  readonly peak: number;
  readonly steps: number;
  /** Steps over which the rate grows from 0 to the peak; the first step has peak / (warmup + 1) or more. */
  readonly warmup?: number;
  /** The last rate, as a share of the peak. */
  readonly floor?: number;
  /** wsd: how many of the last steps the rate falls in (Hu et al., 2024); default a fifth of all, or what the warm-up leaves. */
  readonly cooldown?: number;
}

/**
 * The learning rate of every step, which counts from 1: it grows in a straight line over the warm-up, and then stays (constant),
 * falls in a straight line (linear) or along half a cosine (cosine, Loshchilov and Hutter, 2017) until the last step, or stays
 * and falls in a straight line at the end (wsd).
 * @throws QuaverError `schedule-option`
 */
export function schedule(options: ScheduleOptions): (step: number) => number {
  const { decay, peak, steps, warmup = 0, floor = 0 } = options;
  const { cooldown = Math.min(Math.ceil(steps / 5), Math.max(0, steps - warmup)) } = options;
  check('decay', decay, decays.includes(decay), decays.join(', '));
  check('peak', peak, peak >= 0 && Number.isFinite(peak), 'a finite number of at least 0');
  check('steps', steps, Number.isInteger(steps) && steps >= 1, 'a whole number above 0');
  check('warmup', warmup, Number.isInteger(warmup) && warmup >= 0 && warmup <= steps, `a whole number up to ${steps}`);
  check('floor', floor, floor >= 0 && floor <= 1, 'from 0 to 1');
  check(
    'cooldown',
    cooldown,
    Number.isInteger(cooldown) && cooldown >= 0 && cooldown <= steps - (decay === 'wsd' ? warmup : 0),
    'a whole number that fits behind the warm-up',
  );
  const shares = {
    constant: () => 1,
    linear: (x: number) => 1 - x,
    cosine: (x: number) => (1 + Math.cos(Math.PI * x)) / 2,
  };
  const fall =
    decay === 'wsd' ? { share: shares.linear, from: steps - cooldown } : { share: shares[decay], from: warmup };
  return (step) => {
    if (step <= warmup) return (peak * step) / (warmup + 1);
    const done = Math.min(1, Math.max(0, (step - 1 - fall.from) / Math.max(1, steps - 1 - fall.from)));
    return peak * (floor + (1 - floor) * fall.share(done));
  };
}

function check(option: string, value: unknown, holds: boolean, expected: string): void {
  if (holds) return;
  throw new QuaverError('schedule-option', `${option} is ${String(value)}, expected ${expected}`, {
    where: { option },
  });
}
