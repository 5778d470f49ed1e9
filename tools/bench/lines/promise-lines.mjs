/** @file What the design promises: the canonical order is free, cost grows linearly, memory is the file and the cache. */
import { fitLine } from '../statistics.mjs';
import { model, op } from './line.mjs';

const free = { unit: 'tokens/s', threads: 1, peer: "quaver with reduction: 'fast'", target: 0.97 };

const order = (id, title, measurement) => ({
  ...free,
  ...{ id: `order.${id}`, group: `order.${id}`, title: `${title}, canonical order against any order, 1 thread` },
  ours: measurement({}),
  against: measurement({ reduction: 'fast' }),
  binds: { text: 'the two differ in the order of sums alone' },
});

const square = { kind: 'fp8', m: 1024, n: 1024, k: 1024 };

const scaling = (id, title) => ({
  ...{ id: `scaling.${id}`, group: `scaling.${id}`, title, unit: 'R²', threads: 2, runs: 1, target: 0.98 },
  ours: { module: 'quaver-scaling', options: { model: 'fp8', threads: 2 }, what: id },
  peer: 'a straight line',
  binds: {
    text: 'products of up to 12 rows read packed weights, more go through decoded tiles: a step between 8 and 24',
  },
  // R² of a straight line is 1.
  reduce: (points) => fitLine(points).r2,
  peerValue: 1,
});

const memoryOptions = { module: 'quaver-memory', options: { model: 'fp8', threads: 1 } };

export const promiseLines = [
  order('decode', 'decoding, fp8', (options) => model('fp8', 'decode-greedy', { threads: 1, ...options })),
  order('prefill', 'prefill, fp8', (options) => model('fp8', 'prefill', { threads: 1, ...options })),
  {
    ...order('gemm', 'fp8 product 1024³', (options) => op({ ...square, threads: 1, ...options }, 'gflops')),
    unit: 'GFLOP/s',
  },
  scaling('context', 'time of a decoding step over the length of the context: how straight the line is, 2 threads'),
  scaling('batch', 'time of a decoding step over the number of sequences: how straight the line is, 2 threads'),
  {
    id: 'memory.decode',
    title: 'resident memory of a process while it generates, fp8',
    ...{ unit: 'bytes', group: 'memory', threads: 1, target: 1.25, better: 'lower' },
    ours: { ...memoryOptions, what: 'rss' },
    against: { ...memoryOptions, what: 'file-and-cache' },
    peer: 'file and KV cache',
  },
];
