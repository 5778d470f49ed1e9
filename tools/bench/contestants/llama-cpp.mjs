/** @file llama.cpp through node-llama-cpp, on the same weights: decoding, prefill, batched decoding, greedy tokens. */
import { ggufFile } from '../models.mjs';
import { importPeer } from '../peers.mjs';
import {
  BATCH_DECODE_TOKENS,
  BATCH_PROMPT_TOKENS,
  DECODE_TOKENS,
  PREFILL_TOKENS,
  prompts,
  SAMPLING,
} from './workload.mjs';

const now = () => performance.now();

export async function open({ type, threads, sequences = 1 }) {
  const { getLlama, LlamaLogLevel } = await importPeer('node-llama-cpp');
  const llama = await getLlama({
    ...{ gpu: false, build: 'never', skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error },
    maxThreads: threads,
  });
  const model = await llama.loadModel({ modelPath: await ggufFile(type) });
  const contextSize = sequences > 1 ? BATCH_PROMPT_TOKENS + BATCH_DECODE_TOKENS + 32 : PREFILL_TOKENS + DECODE_TOKENS;
  const context = await model.createContext({ contextSize, batchSize: PREFILL_TOKENS, threads, sequences });
  const all = Array.from({ length: sequences }, () => context.getSequence());
  const [sequence] = all;
  const { short, long, batch } = await prompts(sequences > 1 ? sequences : undefined);

  /** Gives `count` tokens to `take`. */
  async function evaluate(of, tokens, sampling, count, take) {
    let left = count;
    for await (const token of of.evaluate(tokens, { ...sampling, yieldEogToken: true })) {
      take(token);
      if (--left === 0) return;
    }
    throw new Error(`llama.cpp stopped ${left} tokens early`);
  }

  async function decode(sampling) {
    await sequence.clearHistory();
    let first;
    await evaluate(sequence, short, sampling, DECODE_TOKENS + 1, () => {
      first ??= now();
    });
    return DECODE_TOKENS / ((now() - first) / 1000);
  }

  async function prefill() {
    await sequence.clearHistory();
    const start = now();
    await evaluate(sequence, long, SAMPLING.greedy, 1, () => undefined);
    return long.length / ((now() - start) / 1000);
  }

  async function batched(sampling) {
    for (const one of all) await one.clearHistory();
    await Promise.all(all.map((one, i) => one.evaluateWithoutGeneratingNewTokens(batch[i].slice(0, -1))));
    const start = now();
    await Promise.all(
      all.map((one, i) =>
        evaluate(one, batch[i].slice(-1), { ...sampling, seed: i }, BATCH_DECODE_TOKENS, () => undefined),
      ),
    );
    return (sequences * BATCH_DECODE_TOKENS) / ((now() - start) / 1000);
  }

  const measures = {
    decode: () => decode(SAMPLING.sampled),
    'decode-greedy': () => decode(SAMPLING.greedy),
    prefill,
    batched: () => batched(SAMPLING.greedy),
    'batched-sampled': () => batched(SAMPLING.sampled),
    async 'greedy-tokens'() {
      await sequence.clearHistory();
      const tokens = [];
      await evaluate(sequence, short, SAMPLING.greedy, 64, (token) => tokens.push(token));
      return tokens;
    },
  };

  return {
    measure: (what) => measures[what](),
    details: () => ({ threads: context.currentThreads, file_bytes: model.size }),
    async close() {
      await context.dispose();
      await model.dispose();
    },
  };
}
