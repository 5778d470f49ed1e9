/**
 * @file The threads of the WebAssembly engine. One worker is the master: it is told of a run by message, walks through the
 * program, and answers when it has ended. The others wait inside of WebAssembly for the phases that the master shares.
 */
import type { DeviceLost } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { processors } from '../threads.ts';
import type { ThreadedWasm } from './load-wasm.ts';
import type { WasmHeap } from './wasm-heap.ts';
import { startThread, type Thread } from './wasm-thread.ts';

/** As much as the stack of the instance on the calling thread; see tools/build-wasm.mjs. */
const stackBytes = 65536;
/** Workers that have not answered by then count as refused. */
const startMilliseconds = 20_000;
/** Looks at a word before a thread goes to sleep: some tens of microseconds, the pause between two phases of a program. */
const spins = 20_000;

interface Waiting {
  resolve(): void;
  reject(error: unknown): void;
}

export class WasmTeam {
  /** Why there are fewer threads than were asked for. */
  readonly shortage: string | undefined;
  readonly #wasm: ThreadedWasm;
  readonly #team: number;
  /** The master first. */
  readonly #threads: readonly Thread[];
  /** Runs that the master has been told of, in order. */
  #waiting: Waiting[] = [];
  #end: QuaverError | undefined;
  #lose: (lost: DeviceLost) => void = () => undefined;
  /** Settles when a thread died. */
  readonly lost: Promise<DeviceLost> = new Promise((resolve) => {
    this.#lose = resolve;
  });

  private constructor(wasm: ThreadedWasm, heap: WasmHeap, members: readonly Member[], shortage: string | undefined) {
    this.shortage = shortage;
    this.#wasm = wasm;
    const bytes = wasm.exports.team_bytes();
    this.#team = heap.allocate(bytes);
    heap.view(this.#team, bytes).fill(0);
    wasm.exports.team_begin(this.#team, members.length <= processors() ? spins : 0);
    this.#threads = members.map(({ thread }) => thread);
    for (const [i, { thread, listen }] of members.entries()) {
      listen(
        () => this.#ended(),
        (reason) => this.#fail(reason),
      );
      if (i > 0) thread.send({ kind: 'work', team: this.#team, thread: i });
      thread.hold(false);
    }
  }

  /**
   * Starts so many threads, or as many as the system grants.
   * @throws Error when it grants none
   */
  static async open(wasm: ThreadedWasm, heap: WasmHeap, count: number): Promise<WasmTeam> {
    const starts = Array.from({ length: count }, () => startMember(wasm, heap));
    const members: Member[] = [];
    const problems: string[] = [];
    for (const start of await Promise.allSettled(starts)) {
      if (start.status === 'fulfilled') members.push(start.value);
      else problems.push((start.reason as Error).message);
    }
    if (members.length === 0) throw new Error(problems[0]);
    const shortage = problems.length > 0 ? `${problems.length} of ${count} refused: ${problems[0]}` : undefined;
    return new WasmTeam(wasm, heap, members, shortage);
  }

  get threads(): number {
    return this.#threads.length;
  }

  /** Resolves when a run has ended that was begun; stop it through the module. */
  run(run: number): Promise<void> {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ resolve, reject }) === 1) this.#master.hold(true);
      this.#master.send({ kind: 'run', team: this.#team, run });
    });
  }

  /** Ends the threads; runs that wait are rejected. */
  async close(): Promise<void> {
    const hint = 'Wait for what was submitted before you dispose the executor.';
    this.#reject(new QuaverError('executor-disposed', 'the executor ended while a program ran', { hint }));
    this.#wasm.exports.team_quit(this.#team);
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  get #master(): Thread {
    return this.#threads[0]!;
  }

  #ended(): void {
    const waiting = this.#waiting.shift();
    if (this.#waiting.length === 0) this.#master.hold(false);
    waiting?.resolve();
  }

  /** A thread that fails may hold a part of a run: nothing goes on without it. */
  #fail(reason: string): void {
    // At the end they all go, and whoever closes the team waits for it.
    if (this.#end) return;
    this.#lose({ reason });
    this.#reject(new QuaverError('executor-thread-lost', `a thread of the CPU executor failed: ${reason}`));
  }

  #reject(error: QuaverError): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#end);
    this.#master.hold(false);
  }
}

/** A thread that is ready. */
interface Member {
  readonly thread: Thread;
  /** Says to whom its news go from now on. */
  listen(onEnded: () => void, onError: (reason: string) => void): void;
}

async function startMember({ module, memory }: ThreadedWasm, heap: WasmHeap): Promise<Member> {
  const stack = heap.allocate(stackBytes);
  let thread: Thread | undefined;
  let onNews = (): void => undefined;
  let onError = (_reason: string): void => undefined;
  let problem: string | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => onError('it does not start'), startMilliseconds);
      onNews = () => {
        clearTimeout(late);
        resolve();
      };
      onError = (reason) => {
        clearTimeout(late);
        problem = reason;
        reject(new Error(reason));
      };
      thread = startThread({ onNews: () => onNews(), onError: (reason) => onError(reason) });
      thread.send({ kind: 'start', module, memory, stack: stack + stackBytes });
    });
  } catch (error) {
    void thread?.end();
    heap.release(stack);
    throw error;
  }
  return {
    thread: thread!,
    listen: (ended, failed) => {
      onNews = ended;
      onError = failed;
      // It may have failed while others were still starting.
      if (problem !== undefined) failed(problem);
    },
  };
}
