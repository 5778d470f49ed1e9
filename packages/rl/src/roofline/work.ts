/** @file How much the phases of a step compute and move at least, as the registry of ops counts it. */
import type { RolloutMetrics } from '@quaver/generate';
import { byteCount, evaluateDim, findFunction, functionFlops, type Module } from '@quaver/ir';
import type { SampledSequence, SequenceBatch } from '../policy/batches.ts';

export interface Work {
  readonly flops: number;
  /** Weights, states and the KV cache, each time that they are read or written. */
  readonly bytes: number;
}

/** Counts the work of a policy. */
export class WorkMeter {
  readonly #module: Module;
  readonly #pageTokens: number;
  readonly #weightBytes: number;
  readonly #cacheBytes: number;
  readonly #flops = new Map<string, number>();

  /** @param module has the functions of training, and `decode` with a paged cache */
  constructor(module: Module, pageTokens: number) {
    this.#module = module;
    this.#pageTokens = pageTokens;
    this.#weightBytes = bytesOf(module, 'decode', 'parameters');
    this.#cacheBytes = bytesOf(module, 'decode', 'states') / pageTokens;
  }

  /** @param calls what the engine said after each of its runs */
  rollouts(turns: readonly SampledSequence[], calls: readonly RolloutMetrics[]): Work {
    const total = (of: 'prefillCalls' | 'decodeCalls' | 'promptTokens') =>
      calls.reduce((sum, each) => sum + each[of], 0);
    let flops = total('promptTokens') * this.#call('decode', { B: 1, N: 1, P: 1 });
    let context = 0;
    for (const { prompt, tokens } of turns) {
      const mean = prompt.length + tokens.length / 2;
      flops += tokens.length * this.#call('decode', { B: 1, N: Math.ceil(mean / this.#pageTokens), P: 1 });
      context += tokens.length * mean;
    }
    return {
      flops,
      bytes: (total('prefillCalls') + total('decodeCalls')) * this.#weightBytes + context * this.#cacheBytes,
    };
  }

  /** @param name a function of training */
  training(name: 'backward' | 'loss', batches: readonly SequenceBatch[]): Work {
    const calls = batches.map(({ rows, rowTokens }) => this.#call(name, { B: rows, T: rowTokens }));
    const bytes = bytesOf(this.#module, name, 'parameters') + bytesOf(this.#module, name, 'states');
    return { flops: calls.reduce((sum, each) => sum + each, 0), bytes: calls.length * bytes };
  }

  #call(name: string, symbols: Readonly<Record<string, number>>): number {
    const key = `${name} ${Object.values(symbols).join(' ')}`;
    const known = this.#flops.get(key);
    if (known !== undefined) return known;
    const flops = functionFlops(findFunction(this.#module, name)!, symbols);
    this.#flops.set(key, flops);
    return flops;
  }
}

/** Of what a function reads: the cache for one page. */
function bytesOf(module: Module, name: string, kind: 'parameters' | 'states'): number {
  const read = new Set(findFunction(module, name)![kind].map(({ ref }) => ref));
  return module[kind]
    .filter((variable) => read.has(variable.name))
    .reduce((sum, { type }) => sum + evaluateDim(byteCount(type), { P: 1 }), 0);
}
