/** @file Measures the lines of one group: everything takes turns, run by run, and medians are compared. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openContestant } from './contestant.mjs';
import { median } from './statistics.mjs';

const processKey = ({ module, options, env }) => JSON.stringify([module, options, env]);
const keyOf = (measurement) => `${processKey(measurement)} ${measurement.what}`;

/** The measurements that lines take, each once. */
function measurementsOf(lines) {
  const all = lines.flatMap(({ ours, against, alongside = {} }) => [ours, against, ...Object.values(alongside)]);
  return [...new Map(all.filter(Boolean).map((measurement) => [keyOf(measurement), measurement])).values()];
}

/** Opens a process for each contestant, one after the other: the first to need a file makes it. */
class Contestants {
  #open = new Map();

  async get(measurement, say = () => undefined) {
    const key = processKey(measurement);
    if (!this.#open.has(key)) {
      say(`opening ${measurement.module} ${JSON.stringify(measurement.options ?? {})}`);
      this.#open.set(key, await openContestant(measurement));
    }
    return this.#open.get(key);
  }

  async measure(measurement) {
    return (await this.get(measurement)).measure(measurement.what);
  }

  async close() {
    for (const contestant of this.#open.values()) await contestant.close();
    this.#open.clear();
  }
}

/**
 * @param {readonly import('./lines/line.mjs').Line[]} lines of one group
 * @param {{ runs: number, say: (text: string) => void }} options
 */
export async function runGroup(lines, { runs, say }) {
  const contestants = new Contestants();
  const wanted = lines[0].runs ?? runs;
  const measurements = measurementsOf(lines);
  const samples = new Map(measurements.map((measurement) => [keyOf(measurement), []]));
  try {
    for (const measurement of measurements) await contestants.get(measurement, say);
    // The first round warms up: files, caches, compilers, clocks. Where one run is enough it has its own.
    for (let run = wanted === 1 ? 1 : 0; run <= wanted; run++) {
      // There and back, so that nobody always comes after the same one.
      const order = run % 2 ? measurements : measurements.toReversed();
      for (const measurement of order) {
        say(`${run === 0 ? 'warm-up' : `run ${run} of ${wanted}`}: ${measurement.module} ${measurement.what}`);
        // Threads that wait for more work by spinning have stopped by then.
        await sleep(100);
        const value = await contestants.measure(measurement);
        if (run > 0) samples.get(keyOf(measurement)).push(value);
      }
    }
    const details = new Map();
    for (const measurement of measurements) {
      details.set(processKey(measurement), await (await contestants.get(measurement)).details());
    }
    // Now the others have their turn: what is measured once needs no company.
    await contestants.close();
    const results = [];
    for (const line of lines) {
      const once = {};
      for (const [name, measurement] of Object.entries(line.once ?? {})) {
        once[name] = await measureOnce(measurement, say);
      }
      results.push(resultOf(line, samples, details, once));
    }
    return results;
  } finally {
    await contestants.close();
  }
}

const onceMeasured = new Map();

/** Measured the first time it is asked for, and remembered: perplexities do not change. */
async function measureOnce(measurement, say) {
  const key = keyOf(measurement);
  if (!onceMeasured.has(key)) {
    say(`${measurement.what}: ${JSON.stringify(measurement.options)}`);
    const contestant = await openContestant(measurement);
    onceMeasured.set(key, await contestant.measure(measurement.what));
    await contestant.close();
  }
  return onceMeasured.get(key);
}

function resultOf(line, samples, details, once) {
  const of = (measurement) => samples.get(keyOf(measurement));
  const figure = (measurement) => (line.reduce ? line.reduce(of(measurement).at(-1)) : median(of(measurement)));
  const [value, peerValue] = line.compare
    ? line.compare(of(line.ours).at(-1), of(line.against).at(-1))
    : [figure(line.ours), line.against ? figure(line.against) : line.peerValue];
  const ratio = peerValue === undefined ? undefined : value / peerValue;
  const alongside = Object.entries(line.alongside ?? {}).map(([name, measurement]) => [name, median(of(measurement))]);
  return {
    id: line.id,
    title: line.title,
    value,
    unit: line.unit,
    peer: line.peer ?? null,
    peer_value: peerValue ?? null,
    ratio: ratio ?? null,
    target: line.target ?? null,
    ...(line.target === undefined
      ? {}
      : { met: line.better === 'lower' ? ratio <= line.target : ratio >= line.target }),
    ...(line.better ? { better: line.better } : {}),
    runs: of(line.ours).length,
    ...(line.binds ? { binds: line.binds } : {}),
    ...(line.reduce ? { points: of(line.ours).at(-1) } : {}),
    details: {
      ours: details.get(processKey(line.ours)),
      ...(line.against ? { peer: details.get(processKey(line.against)) } : {}),
      ...(line.compare ? {} : { samples: of(line.ours), ...(line.against ? { peer_samples: of(line.against) } : {}) }),
      ...Object.fromEntries(alongside),
      ...once,
    },
  };
}
