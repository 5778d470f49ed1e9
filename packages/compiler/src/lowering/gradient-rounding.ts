import type { FunctionRewriter, StateVariable } from '@quaver/ir';
import type { Cast } from './quantize-operand.ts';

/** Seeds stochastic rounding; a function that rounds so adds 1 to it in every call. */
export const roundingSeedState: StateVariable = { name: 'rounding_seed', type: { dtype: 'i32', shape: [1] } };

/** Stochastic casts of one function: one seed, and for every value that is rounded a stream of its own. */
export class GradientRounding {
  readonly #rewriter: FunctionRewriter;
  readonly #addState: (state: StateVariable) => void;
  #used = false;

  constructor(rewriter: FunctionRewriter, addState: (state: StateVariable) => void) {
    this.#rewriter = rewriter;
    this.#addState = addState;
  }

  /** Rounds what has this name; the same name draws the same numbers. */
  cast(name: string): Cast {
    return (x, scale, attributes, origin) => {
      this.#used = true;
      this.#addState(roundingSeedState);
      const operands = [x, scale, this.#rewriter.state(roundingSeedState)];
      return this.#rewriter.op('stochastic_quantize', operands, { ...attributes, stream: streamOf(name) }, origin);
    };
  }

  finish(): void {
    if (!this.#used) return;
    const rewriter = this.#rewriter;
    const origin = { location: roundingSeedState.name };
    const one = rewriter.op('constant', [], { value: 1, dtype: 'i32', shape: [1] }, origin);
    rewriter.update(roundingSeedState.name, rewriter.op('add', [rewriter.state(roundingSeedState), one], {}, origin));
  }
}

/** FNV-1a of the name, without the sign bit: streams depend on names alone, so other layers do not move them. */
function streamOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash & 0x7fff_ffff;
}
