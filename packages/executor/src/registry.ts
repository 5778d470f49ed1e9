import { QuaverError } from '@quaver/numerics';
import type { Executor, ExecutorOptions, ExecutorPlugin } from './contract.ts';

/** The executors that a program knows about. Anyone's package can add one. */
export class ExecutorRegistry {
  readonly #plugins = new Map<string, ExecutorPlugin>();

  constructor(plugins: Iterable<ExecutorPlugin> = []) {
    for (const plugin of plugins) this.register(plugin);
  }

  /** @throws QuaverError `executor-plugin-invalid`, `executor-duplicate` */
  register(plugin: ExecutorPlugin): void {
    if (plugin?.apiVersion !== 1 || typeof plugin.id !== 'string' || typeof plugin.open !== 'function') {
      throw new QuaverError('executor-plugin-invalid', `not an executor plug-in of API version 1`, {
        hint: 'A plug-in is an object with apiVersion 1, id, listDevices() and open().',
      });
    }
    if (this.#plugins.has(plugin.id)) {
      throw new QuaverError('executor-duplicate', `an executor '${plugin.id}' is already registered`, {
        where: { executor: plugin.id },
      });
    }
    this.#plugins.set(plugin.id, plugin);
  }

  list(): readonly ExecutorPlugin[] {
    return [...this.#plugins.values()];
  }

  /** @throws QuaverError `executor-unknown`, and what the plug-in throws */
  async open(id: string, options?: ExecutorOptions): Promise<Executor> {
    const plugin = this.#plugins.get(id);
    if (!plugin) {
      throw new QuaverError('executor-unknown', `there is no executor '${id}'`, {
        hint: `Known are: ${[...this.#plugins.keys()].join(', ') || 'none'}.`,
        where: { executor: id },
      });
    }
    return plugin.open(options);
  }
}
