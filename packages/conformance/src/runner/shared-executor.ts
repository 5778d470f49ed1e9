import { type Executor, type ExecutorOptions, type ExecutorPlugin, openPlugin } from '@quaver/executor';

/** The executor that cases share. It is opened when it is first needed, and again after a case that may have broken it. */
export class SharedExecutor {
  readonly #plugin: ExecutorPlugin;
  readonly #options: ExecutorOptions;
  #open: Executor | undefined;

  constructor(plugin: ExecutorPlugin, options: ExecutorOptions) {
    this.#plugin = plugin;
    this.#options = options;
  }

  async get(): Promise<Executor> {
    this.#open ??= await openPlugin(this.#plugin, this.#options);
    return this.#open;
  }

  /** Does not wait for the end of the one before: it may hang, which is why it is replaced. */
  replace(): void {
    const before = this.#open;
    this.#open = undefined;
    // What a broken executor says when it is disposed of is no news.
    before?.[Symbol.asyncDispose]().then(undefined, () => undefined);
  }

  /** Waits for the end of the last one, but no longer than this: the report is there already. */
  async close(timeoutMs: number): Promise<void> {
    if (!this.#open) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#open[Symbol.asyncDispose](), late]).finally(() => clearTimeout(timer));
  }
}
