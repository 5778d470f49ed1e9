/** @file Workers as the WebAssembly engine needs them, in Node and in browsers. */
import type { ThreadNews, ThreadOrder } from './wasm-worker.ts';

export interface ThreadListener {
  onNews(news: ThreadNews): void;
  /** It could not be started, or it failed. */
  onError(reason: string): void;
}

export interface Thread {
  send(order: ThreadOrder): void;
  /** Whether a process waits for it. */
  hold(held: boolean): void;
  end(): Promise<void>;
}

/** Why there can be no threads here, or undefined. */
export function whyNoThreads(): string | undefined {
  if (globalThis.crossOriginIsolated === false)
    return 'the page is not cross-origin isolated (headers Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy)';
  if (typeof SharedArrayBuffer === 'undefined') return 'there is no SharedArrayBuffer';
  if (!nodeWorkers() && typeof Worker === 'undefined') return 'there are no workers';
  return undefined;
}

/** @throws Error when the system refuses at once; what it finds out later goes to the listener */
export function startThread(listener: ThreadListener): Thread {
  return nodeWorkers() ? startNodeThread(listener) : startWebThread(listener);
}

function nodeWorkers() {
  return globalThis.process?.getBuiltinModule?.('node:worker_threads');
}

function startNodeThread({ onNews, onError }: ThreadListener): Thread {
  // From the sources it is a .ts file, and Node strips the types.
  const file = `wasm-worker${/\.\w+$/.exec(import.meta.url)![0]}`;
  const url = new URL(import.meta.url.replace(/[^/]*$/, file));
  // Flags of the process (loaders, inspectors, profilers) are not meant for threads that run no JavaScript of the user.
  const worker = new (nodeWorkers()!.Worker)(url, { execArgv: [], name: 'quaver' });
  worker.on('message', onNews);
  worker.on('messageerror', ({ message }) => onError(message));
  worker.on('error', (error) => onError((error as Error).message));
  worker.on('exit', () => onError('it ended'));
  return {
    send: (order) => worker.postMessage(order),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    end: async () => {
      // Who waits for the end must hear of it.
      worker.ref();
      await worker.terminate();
    },
  };
}

function startWebThread({ onNews, onError }: ThreadListener): Thread {
  // Bundlers know this form.
  const worker = new Worker(new URL('./wasm-worker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }) => onNews(data);
  worker.onmessageerror = () => onError('it cannot be sent the module');
  worker.onerror = (event) => onError(event.message || 'its script does not load');
  return {
    send: (order) => worker.postMessage(order),
    hold: () => undefined,
    end: async () => worker.terminate(),
  };
}
