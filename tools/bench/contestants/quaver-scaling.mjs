/** @file How the time of a decoding step grows: with the length of the context, and with the number of sequences. */
import { cpuPlugin } from '../../../packages/executor-cpu/dist/index.js';
import { ModelCalls, modelLimits } from '../../../packages/generate/dist/index.js';
import { openSession, readModule } from '../../../packages/sdk/dist/node.js';
import { proseTokens, quaverFile } from '../models.mjs';
import { median } from '../statistics.mjs';

const CONTEXTS = [128, 256, 512, 1024, 2048, 3072, 4096, 6144, 8192];
const BATCHES = [1, 2, 4, 8, 16, 24, 32, 48, 64];
const CHUNK = 128;
const ROUNDS = 3;
const STEPS = 4;

/** Milliseconds of each step. */
async function stepTimes(step) {
  const times = [];
  for (let i = 0; i < STEPS; i++) {
    const start = performance.now();
    await step();
    times.push(performance.now() - start);
  }
  return times;
}

/** Points `[x, median milliseconds]`; all points take turns, so that what disturbs disturbs them alike. */
async function points(xs, stepAt) {
  const times = new Map(xs.map((x) => [x, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const x of xs) {
      const taken = await stepTimes(() => stepAt(x));
      if (round > 0) times.get(x).push(...taken);
    }
  }
  return xs.map((x) => [x, median(times.get(x))]);
}

export async function open({ model, ...executorOptions }) {
  const file = await readModule(await quaverFile(model));
  const executor = await cpuPlugin.open(executorOptions);
  const session = await openSession(file, { executor, functions: ['prefill', 'decode'] });
  const calls = new ModelCalls(session.session);
  const tokens = await proseTokens();
  const text = (from, count) => Array.from({ length: count }, (_, i) => tokens[(from + i) % tokens.length]);

  /** What a step does with its logits is not part of it. */
  const look = () => undefined;

  async function overContext() {
    const limit = modelLimits(file).context;
    const contexts = CONTEXTS.filter((length) => length <= limit);
    const longest = contexts.at(-1);
    using state = session.session.createState({ B: 1, C: longest });
    for (let from = 0; from < longest; from += CHUNK) await calls.fill(state, [text(from, CHUNK)], [from]);
    // Decoding at position n - 1 attends to n tokens; it writes that one again and leaves the others alone.
    return await points(contexts, (length) => calls.decode(state, text(length - 1, 1), [length - 1], look));
  }

  async function overBatch() {
    const states = new Map();
    for (const B of BATCHES) {
      const state = session.session.createState({ B, C: CHUNK });
      const rows = Array.from({ length: B }, (_, r) => text(r * 31, 64));
      await calls.fill(state, rows, Array(B).fill(0));
      states.set(B, state);
    }
    try {
      return await points(BATCHES, (B) => calls.decode(states.get(B), text(7, B), Array(B).fill(64), look));
    } finally {
      for (const state of states.values()) state.dispose();
    }
  }

  const measures = { context: overContext, batch: overBatch };
  return {
    measure: (what) => measures[what](),
    details: () => ({ executor: { name: executor.device.name, ...executor.device.details } }),
    async close() {
      await session[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
      await file.close();
    },
  };
}
