/** @file Training steps on the layers of SmolLM2-135M, 2,048 tokens: against JAX, FP8 against BF16, and against our own products. */
import { op, threadsText } from './line.mjs';

const ours = (recipe, what, options) => ({ module: 'quaver-train', options: { recipe, ...options }, what });
const jax = (dtype, threads) => ({ module: 'jax-train', options: { dtype, threads }, what: 'tokens/s' });

/** JAX takes every processor, so all lines do. */
const threads = 2;
const common = { group: 'train', threads, needsPython: true };

const againstJax = (dtype, target) => ({
  ...{ id: `train.bf16-vs-jax-${dtype}.t${threads}`, unit: 'tokens/s', ...common },
  title: `training in bf16, ${threadsText(threads)}`,
  ours: ours('bf16', 'tokens/s', { threads }),
  against: jax(dtype, threads),
  peer: `JAX (jit, CPU) in ${dtype}`,
  target,
});

export const trainingLines = [
  againstJax('f32', 1.5),
  againstJax('bf16', 1),
  {
    ...{ id: `train.fp8-vs-bf16.t${threads}`, unit: 's per step', group: 'train.recipes', threads, better: 'lower' },
    title: `a training step in fp8-block, ${threadsText(threads)}`,
    ours: ours('fp8-block', 'seconds', { threads }),
    against: ours('bf16', 'seconds', { threads }),
    peer: 'quaver bf16',
    target: 1.1,
  },
  {
    ...{ id: `train.products.t${threads}`, unit: 'GFLOP/s', group: 'train.products', threads },
    title: `forward and backward pass in bf16, operations of the products with weights, ${threadsText(threads)}`,
    ours: ours('bf16', 'gflops', { threads }),
    against: op({ kind: 'bf16', m: 2048, k: 576, n: 1536, threads }, 'gflops'),
    peer: 'our bf16 product 2048×576×1536 alone',
    target: 0.5,
  },
];
