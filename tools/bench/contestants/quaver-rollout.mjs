/** @file Quaver's rollout engine with a whole model: sequences that are generated together over a paged KV cache. */
import { cpuPlugin } from '../../../packages/executor-cpu/dist/index.js';
import { pagedCache, RolloutEngine } from '../../../packages/generate/dist/index.js';
import { openSession, readModule } from '../../../packages/sdk/dist/node.js';
import { quaverFile } from '../models.mjs';
import { BATCH_DECODE_TOKENS, BATCH_PROMPT_TOKENS, prompts, SAMPLING } from './workload.mjs';

/** `model` is a name in models.mjs; so many sequences, prompts of so many tokens. */
export async function open({ model, threads, sequences, promptTokens = BATCH_PROMPT_TOKENS }) {
  const file = await readModule(await quaverFile(model));
  const executor = await cpuPlugin.open({ threads });
  const session = await openSession(pagedCache(file), { executor, functions: ['prefill', 'decode'] });
  const { batch } = await prompts(sequences, promptTokens);
  const each = promptTokens + BATCH_DECODE_TOKENS + 16;
  const engine = await RolloutEngine.open(session.session, { maxSequences: sequences, cacheTokens: each * sequences });
  const requests = batch.map((prompt, id) => ({
    ...{ id, prompt, maxNewTokens: BATCH_DECODE_TOKENS + 1, eosTokenIds: [] },
    ...SAMPLING.sampled,
  }));

  /** Tokens a second over all sequences, after every one of them has its first token. */
  async function rollout() {
    const begun = new Set();
    let [start, tokens] = [0, 0];
    for await (const event of engine.run(requests)) {
      if (event.type !== 'token') continue;
      if (begun.size === sequences) tokens++;
      else {
        begun.add(event.id);
        start = performance.now();
      }
    }
    return tokens / ((performance.now() - start) / 1000);
  }

  return {
    measure: () => rollout(),
    details: () => ({ executor: { name: executor.device.name, ...executor.device.details }, engine: engine.metrics }),
    async close() {
      engine.dispose();
      await session[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
      await file.close();
    },
  };
}
