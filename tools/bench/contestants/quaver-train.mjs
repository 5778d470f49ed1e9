/** @file Training steps of our own: tokens per second, and what the forward and backward pass make of the products' operations. */
import { cpuPlugin } from '../../../packages/executor-cpu/dist/index.js';
import { createLlama } from '../../../packages/models/dist/index.js';
import { adamw, TrainingSession } from '../../../packages/train/dist/index.js';
import { batch, huggingFaceConfig, id, productOperations, tokens } from './training-workload.mjs';

export async function open({ recipe, threads, remat = 'none' }) {
  const executor = await cpuPlugin.open({ threads });
  const optimizer = adamw({ beta2: 0.95, weightDecay: 0.1 });
  const module = createLlama(huggingFaceConfig, { seed: 0, name: 'smollm2-shaped' });
  const session = await TrainingSession.open(module, executor, {
    recipe,
    optimizer: () => optimizer,
    maxGradientNorm: 1,
    remat,
  });
  const rows = {
    rows: batch.rows,
    rowTokens: batch.tokens,
    tokens: Int32Array.from({ length: tokens }, (_, i) => id(i)),
    targets: Int32Array.from({ length: tokens }, (_, i) => id(i + 1)),
    mask: new Float32Array(tokens).fill(1),
    position: Int32Array.from({ length: tokens }, (_, i) => i % batch.tokens),
    firstKey: new Int32Array(tokens),
  };
  let last;
  const step = async () => {
    const start = performance.now();
    last = await session.step([rows], 1e-4);
    return (performance.now() - start) / 1000;
  };
  const measures = {
    'tokens/s': async () => tokens / (await step()),
    seconds: step,
    gflops: async () => {
      await step();
      return productOperations / last.seconds.forward_backward / 1e9;
    },
  };
  return {
    measure: (what) => measures[what](),
    details: () => ({ seconds: last?.seconds, loss: last?.loss }),
    async close() {
      await session[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
    },
  };
}
