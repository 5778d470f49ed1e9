import type { FunctionRewriter, NodeOrigin, StateVariable, Value } from '@quaver/ir';

const history = /_amax_history$/;

/** The state that collects the amax of the step that is going on, for an amax history. */
export function runningAmaxState({ name }: Pick<StateVariable, 'name'>): StateVariable {
  return { name: name.replace(history, '_amax_running'), type: { dtype: 'f32', shape: [1] } };
}

export function isAmaxHistory(name: string): boolean {
  return history.test(name);
}

/**
 * Collects amax values for delayed scales where a function trains: every call takes the maximum of the running amax and its own, so
 * that the micro-batches of a step count as one batch. The end of the step moves it into the history (shift-amax-histories.ts).
 * Scales come from the history alone: what is collected changes no bit of this step.
 */
export class AmaxRecorder {
  readonly #rewriter: FunctionRewriter;
  readonly #active: boolean;
  readonly #addState: (state: StateVariable) => void;
  readonly #running = new Map<string, Value>();
  readonly #seen = new Map<string, Set<Value>>();

  /** Only an active recorder does something. */
  constructor(rewriter: FunctionRewriter, active: boolean, addState: (state: StateVariable) => void) {
    this.#rewriter = rewriter;
    this.#active = active;
    this.#addState = addState;
  }

  observe(historyState: StateVariable, x: Value, { location }: NodeOrigin): void {
    if (!this.#active) return;
    const state = runningAmaxState(historyState);
    const seen = this.#seen.get(state.name) ?? new Set();
    this.#seen.set(state.name, seen);
    if (seen.has(x)) return;
    seen.add(x);
    this.#addState(state);
    const rewriter = this.#rewriter;
    const amax = rewriter.op('amax', [x], { block: x.type.shape.map(() => 0) }, { location });
    const flat = rewriter.op('reshape', [amax], { shape: [1] }, { location });
    const before = this.#running.get(state.name) ?? rewriter.state(state);
    this.#running.set(state.name, rewriter.op('maximum', [before, flat], {}, { location }));
  }

  finish(): void {
    for (const [name, value] of this.#running) this.#rewriter.update(name, value);
  }
}
