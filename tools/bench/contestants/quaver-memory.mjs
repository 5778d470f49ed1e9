/** @file The memory of a process that reads a compiled model and generates, and does nothing else: `quaver generate`. */
import { readFileSync, statSync } from 'node:fs';
import { keepHeapSmall } from '../../../packages/cli/dist/small-heap.js';
import { cpuPlugin } from '../../../packages/executor-cpu/dist/index.js';
import { generate } from '../../../packages/generate/dist/index.js';
import { openSession, readModule } from '../../../packages/sdk/dist/node.js';
import { quaverFile } from '../models.mjs';
import { DECODE_TOKENS, prompts, SAMPLING } from './workload.mjs';

/** The most that this process ever had, where the system tells. */
function peakRss() {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
  } catch {
    return undefined;
  }
}

export async function open({ model, ...executorOptions }) {
  const baseline = process.memoryUsage.rss();
  keepHeapSmall();
  const path = await quaverFile(model);
  const file = await readModule(path);
  const executor = await cpuPlugin.open(executorOptions);
  const session = await openSession(file, { executor, functions: ['prefill', 'decode'] });
  const tokenizer = await session.tokenizer();
  const { short: prompt } = await prompts();
  const loaded = process.memoryUsage.rss();

  /** The largest resident memory while tokens come. */
  async function rss() {
    let most = 0;
    const options = { prompt, maxNewTokens: DECODE_TOKENS, eosTokenIds: [], ...SAMPLING.sampled };
    for await (const _ of generate(session.session, tokenizer, options))
      most = Math.max(most, process.memoryUsage.rss());
    return most;
  }

  function fileAndCache() {
    using state = session.session.createState({ B: 1, C: prompt.length + DECODE_TOKENS });
    return statSync(path).size + state.byteLength;
  }

  const measures = { rss, 'file-and-cache': fileAndCache };
  return {
    measure: async (what) => measures[what](),
    details: () => ({
      executor: { name: executor.device.name, ...executor.device.details },
      rss_before_loading: baseline,
      rss_after_loading: loaded,
      rss_peak: peakRss(),
    }),
    async close() {
      await session[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
      await file.close();
    },
  };
}
