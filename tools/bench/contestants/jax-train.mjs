/** @file The same training step in JAX on the CPU, compiled by jit; a Python process that answers one line for each request. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pythonPeers } from '../peers.mjs';
import { batch, shape, tokens } from './training-workload.mjs';

const script = path.join(import.meta.dirname, '../peers/jax_train.py');

export async function open({ dtype, threads }) {
  const python = spawn(pythonPeers(), [script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // The processors that XLA sees are those that it uses.
    env: { ...process.env, JAX_PLATFORMS: 'cpu', NPROC: String(threads) },
  });
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
  const ask = async (request) => {
    python.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error('jax_train.py ended');
    return JSON.parse(value);
  };
  // The first step compiles.
  let last = await ask({ dtype, ...batch, config: shape, steps: 1 });
  return {
    async measure() {
      last = await ask({ steps: 1 });
      return tokens / last.seconds[0];
    },
    details: () => ({ jax: last.jax, loss: last.loss }),
    async close() {
      python.stdin.end();
      await new Promise((resolve) => python.once('exit', resolve));
    },
  };
}
