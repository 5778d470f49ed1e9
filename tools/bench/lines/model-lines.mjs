/** @file Whole-model lines: decoding, prefill, batched decoding, and that we measure the same model as the peers. */
import { BATCH, PREFILL_TOKENS } from '../contestants/workload.mjs';
import { llama, model, roofline, threadsText } from './line.mjs';

const perplexity = (name, threads) => model(name, 'perplexity', { threads, functions: ['score'] });

const decodeLines = (threads) => {
  const common = {
    ...{ unit: 'tokens/s', group: `decode.t${threads}`, threads },
    alongside: { read_gbs: roofline('read', threads) },
  };
  const ours = (name, what = 'decode') => model(name, what, { threads });
  const theirs = (type, what = 'decode') => llama(type, what, { threads });
  const perplexities = (name) => ({
    perplexity: perplexity(name, threads),
    perplexity_bf16: perplexity('bf16', threads),
  });
  const vsLlama = (id, name, type, target, what) => ({
    ...common,
    id: `decode.${id}.t${threads}`,
    title: `decoding, ${name}${what === 'decode-greedy' ? ', greedy' : ''}, ${threadsText(threads)}`,
    ours: ours(name, what),
    against: theirs(type, what),
    peer: `llama.cpp ${type.toUpperCase()}`,
    needsPeers: true,
    target,
  });
  const vsBf16 = (name, target) => ({
    ...common,
    id: `decode.${name}-vs-bf16.t${threads}`,
    title: `decoding, ${name} against our own BF16, ${threadsText(threads)}`,
    ours: ours(name),
    against: ours('bf16'),
    peer: 'quaver bf16',
    target,
    once: perplexities(name),
  });
  return [
    vsLlama('fp8', 'fp8', 'q8_0', 1.3),
    vsLlama('fp8.greedy', 'fp8', 'q8_0', 1.3, 'decode-greedy'),
    vsLlama('fp8-lm-head', 'fp8-lm-head', 'q8_0'),
    vsLlama('bf16', 'bf16', 'bf16'),
    vsLlama('f32', 'f32', 'f32'),
    vsBf16('fp8', 1.4),
    vsBf16('fp8-lm-head', 1.6),
  ];
};

const prefillLines = (threads) => {
  const line = (id, name, type, target) => ({
    ...{ unit: 'tokens/s', group: `prefill.t${threads}`, threads, needsPeers: true, target },
    id: `prefill.${id}.t${threads}`,
    title: `prefill of ${PREFILL_TOKENS} tokens up to the first new one, ${name}, ${threadsText(threads)}`,
    ours: model(name, 'prefill', { threads }),
    against: llama(type, 'prefill', { threads }),
    peer: `llama.cpp ${type.toUpperCase()}`,
    binds: { text: 'products of 512 rows: multiplying binds, see gemm.*' },
  });
  return [line('fp8', 'fp8', 'bf16', 2), line('fp8-vs-q8_0', 'fp8', 'q8_0'), line('bf16', 'bf16', 'bf16')];
};

const batchLines = (threads) => {
  const line = (id, what, target) => ({
    ...{ unit: 'tokens/s', group: `batch.t${threads}`, threads, needsPeers: true, target },
    id: `decode.${id}.t${threads}`,
    title: `${BATCH} sequences decoded together, all tokens, ${what === 'batched' ? 'greedy' : 'sampled'}, ${threadsText(threads)}`,
    ours: model('fp8', what, { threads }),
    against: llama('q8_0', what, { threads, sequences: BATCH }),
    peer: 'llama.cpp Q8_0',
    binds: {
      text: `products of ${BATCH} rows, see gemm.fp8.m32${what === 'batched' ? '' : '; the tokens are chosen one after the other in JavaScript'}`,
    },
  });
  return [line('fp8.batch32', 'batched', 1.5), line('fp8.batch32.sampled', 'batched-sampled')];
};

/** Greedy tokens of the f32 models that agree, of 64: the weights are the same. */
const agreement = {
  id: 'agreement.f32',
  title: 'greedy tokens of our f32 model before the first that differs from llama.cpp F32',
  ...{ unit: 'tokens', group: 'agreement', threads: 1, needsPeers: true },
  ours: model('f32', 'greedy-tokens', { threads: 1 }),
  against: llama('f32', 'greedy-tokens', { threads: 1 }),
  peer: 'llama.cpp F32',
  compare(ours, theirs) {
    const differs = theirs.findIndex((token, i) => token !== ours[i]);
    return [differs < 0 ? theirs.length : differs, theirs.length];
  },
};

export const modelLines = [
  agreement,
  ...[1, 2].flatMap(decodeLines),
  ...[1, 2].flatMap(prefillLines),
  ...[1, 2].flatMap(batchLines).filter(({ threads }) => threads === 2),
];
