/** @file Rollouts: sequences that are generated together, FP8 against BF16 and against llama.cpp's parallel decoding. */
import { llama, threadsText } from './line.mjs';

const threads = 2;
/** So long that the KV cache weighs as much as the weights. */
const longPrompt = 1536;

const rollout = (model, options) => ({
  module: 'quaver-rollout',
  options: { model, threads, ...options },
  what: 'rollout',
});

const sequencesText = (count) => `${count} sequence${count === 1 ? '' : 's'}`;

const vsBf16 = (name, sequences, target, options = {}) => {
  const long = options.promptTokens === undefined ? '' : '.long';
  return {
    ...{ unit: 'tokens/s', group: `rollout.c${sequences}${long}`, threads, target },
    id: `rollout.${name}-vs-bf16.c${sequences}${long}.t${threads}`,
    title: `rollouts of ${sequencesText(sequences)}${long ? ` after ${options.promptTokens} tokens` : ''}, ${name}, ${threadsText(threads)}`,
    ours: rollout(name, { sequences, ...options }),
    against: rollout('bf16', { sequences, ...options }),
    peer: 'quaver bf16',
  };
};

export const rolloutLines = [
  vsBf16('fp8', 1, 1.3),
  vsBf16('fp8', 4, 1.3),
  vsBf16('fp8-all', 4, 1.48, { promptTokens: longPrompt }),
  vsBf16('fp8', 64, 0.95),
  {
    ...{ unit: 'tokens/s', group: 'rollout.c64', threads, needsPeers: true, target: 1.5 },
    id: `rollout.fp8.c64.t${threads}`,
    title: `rollouts of 64 sequences, sampled, ${threadsText(threads)}`,
    ours: rollout('fp8', { sequences: 64 }),
    against: llama('q8_0', 'batched-sampled', { threads, sequences: 64 }),
    peer: 'llama.cpp Q8_0, parallel decoding',
  },
];
