/** @file What a terminal shows of a run that goes on. */
import type { RlEvent } from '@quaver/rl';
import type { Run } from '../../run.ts';
import { sparkline } from '../../terminal/sparkline.ts';
import { formatDuration } from '../../terminal/units.ts';

/** Steps whose rewards are drawn. */
const drawnSteps = 24;

/** One line that is redrawn, with the rewards of the last steps as a small plot, and a line for each event that stays. */
export class RlView {
  readonly #run: Run;
  readonly #rewards: number[] = [];
  #accuracy = '';

  constructor(run: Run) {
    this.#run = run;
  }

  show(event: RlEvent, label = 'Learning'): void {
    const run = this.#run;
    if (event.phase === 'step') {
      const { record, steps, secondsLeft } = event;
      if (record.step === 1) this.#rewards.length = 0;
      this.#rewards.push(record.reward);
      const numbers = [
        `step ${record.step} of ${steps}`,
        `reward ${record.reward.toFixed(3)} ${sparkline(this.#rewards.slice(-drawnSteps))}`,
        ...(this.#accuracy === '' ? [] : [`held-out ${this.#accuracy}`]),
        `${record.rollout_tokens_per_s.toFixed(0)} tokens/s sampled`,
        `${record.train_tokens_per_s.toFixed(0)} trained`,
        ...(record.token_mult_prob_error === undefined ? [] : [`mismatch ${record.token_mult_prob_error}`]),
      ];
      run.progress.update(
        label,
        record.step,
        steps,
        `${numbers.join(', ')}, ${formatDuration(1000 * secondsLeft)} left`,
      );
    } else if (event.phase === 'evaluate') {
      this.#accuracy = percent(event.accuracy);
      run.note(`step ${event.step}: held-out accuracy ${this.#accuracy} of ${event.problems}`);
    } else if (event.phase === 'lost') {
      run.note(`step ${event.step}: the executor was lost (${event.reason}); going on from the latest checkpoint`);
    } else run.note(`step ${event.step}: ${event.folder}`);
  }
}

export function percent(share: number | null): string {
  return share === null ? '–' : `${(100 * share).toFixed(1)} %`;
}
