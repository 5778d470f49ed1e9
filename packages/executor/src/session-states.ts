import { byteCount, type DimBindings, evaluateDim, type GraphFunction, type Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { DeviceBuffer, Executor } from './contract.ts';
import { statesOf } from './session-functions.ts';
import { SessionState } from './session-state.ts';

/** The states that a session has made and not yet disposed. */
export class SessionStates {
  readonly #executor: Executor;
  readonly #made = new Set<SessionState>();

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  /**
   * Zero-filled.
   * @param wanted names of variables; all of the module when left out
   * @throws QuaverError `dim-unbound`, `executor-out-of-memory`
   */
  create({ states }: Module, symbols: DimBindings, wanted: ReadonlySet<string> | undefined): SessionState {
    const buffers: Record<string, DeviceBuffer> = {};
    try {
      for (const { name, type } of states) {
        if (wanted && !wanted.has(name)) continue;
        buffers[name] = this.#executor.allocate(evaluateDim(byteCount(type), symbols), 'state');
      }
    } catch (error) {
      for (const buffer of Object.values(buffers)) buffer.dispose();
      throw error;
    }
    this.#forgetDisposed();
    const state = new SessionState(symbols, buffers);
    this.#made.add(state);
    return state;
  }

  /**
   * Whether a function can run on a state.
   * @throws QuaverError `session-state-missing`, `session-state-foreign`, `session-state-incomplete`
   */
  checkFor(fn: GraphFunction, state: SessionState | undefined): void {
    const needed = statesOf(fn);
    if (needed.size === 0) return;
    if (!state) {
      throw new QuaverError('session-state-missing', `function '${fn.name}' has state, and none was given`, {
        hint: 'Make one with session.createState(…) and pass it as `state`.',
        where: { function: fn.name },
      });
    }
    this.checkOwn(state, `function '${fn.name}' was given`);
    for (const name of needed) if (!state.has(name)) throw stateLacks(fn, name);
  }

  /**
   * @param what how an error about the state of another session begins
   * @throws QuaverError `session-state-foreign`
   */
  checkOwn(state: SessionState, what: string): void {
    if (this.#made.has(state) || state.isDisposed) return;
    throw new QuaverError('session-state-foreign', `${what} the state of another session`, {
      hint: 'States belong to the session whose createState(…) made them.',
    });
  }

  dispose(): void {
    for (const state of this.#made) state.dispose();
    this.#made.clear();
  }

  #forgetDisposed(): void {
    for (const state of this.#made) if (state.isDisposed) this.#made.delete(state);
  }
}

function stateLacks(fn: GraphFunction, name: string): QuaverError {
  return new QuaverError('session-state-incomplete', `function '${fn.name}' needs '${name}', which its state lacks`, {
    hint: `Name '${fn.name}' among the functions in session.createState(…).`,
    where: { function: fn.name, state: name },
  });
}
