/** @file What a thread of the WebAssembly engine runs: an instance of the module over the memory that all threads share. */
import type { WasmThreadExports } from './wasm-exports.ts';

export type ThreadOrder =
  | {
      readonly kind: 'start';
      readonly module: WebAssembly.Module;
      readonly memory: WebAssembly.Memory;
      /** Where the thread's stack begins; it grows downwards. */
      readonly stack: number;
    }
  /** From now on help the master: it sleeps and works in WebAssembly, and hears no more orders. */
  | { readonly kind: 'work'; readonly team: number; readonly thread: number }
  /** Be the master of one run. */
  | { readonly kind: 'run'; readonly team: number; readonly run: number };

/** A thread is ready once, and a run has ended once for every order. */
export type ThreadNews = 'ready' | 'ended';

interface Port {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(news: ThreadNews): void;
}

const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
const port = (node?.parentPort ?? globalThis) as unknown as Port;
let wasm: WasmThreadExports | undefined;

// What is thrown here reaches the engine as an error of the worker.
port.onmessage = ({ data }) => {
  const order = data as ThreadOrder;
  if (order.kind === 'start') {
    const { module, memory, stack } = order;
    const { exports } = new WebAssembly.Instance(module, { env: { memory, now: () => performance.now() / 1000 } });
    wasm = exports as unknown as WasmThreadExports;
    wasm.__stack_pointer.value = stack;
    port.postMessage('ready');
  } else if (order.kind === 'work') {
    wasm!.team_work(order.team, order.thread);
  } else {
    wasm!.team_run(order.team, order.run);
    port.postMessage('ended');
  }
};
