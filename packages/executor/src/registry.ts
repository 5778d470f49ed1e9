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
    const problem = problemOf(plugin);
    if (problem !== undefined) {
      throw new QuaverError('executor-plugin-invalid', `not an executor plug-in of API version 1: ${problem}`, {
        hint: 'A plug-in is an object with apiVersion 1, id, listDevices() and open().',
      });
    }
    if (this.#plugins.has(plugin.id)) {
      throw new QuaverError('executor-duplicate', `an executor '${plugin.id}' is already registered`, {
        hint: 'Register each plug-in once; two packages cannot share an id.',
        where: { executor: plugin.id },
      });
    }
    this.#plugins.set(plugin.id, plugin);
  }

  list(): readonly ExecutorPlugin[] {
    return [...this.#plugins.values()];
  }

  /** @throws QuaverError `executor-unknown`, and what the plug-in throws (`executor-device-unknown`, …) */
  async open(id: string, options?: ExecutorOptions): Promise<Executor> {
    const plugin = this.#plugins.get(id);
    if (!plugin) {
      throw new QuaverError('executor-unknown', `there is no executor '${id}'`, {
        hint: `Known are: ${[...this.#plugins.keys()].join(', ') || 'none'}.`,
        where: { executor: id },
      });
    }
    return openPlugin(plugin, options);
  }
}

/**
 * Opens a plug-in and looks at the shape of what it gives.
 * @throws QuaverError `executor-plugin-invalid`, `executor-plugin-failed`, and what the plug-in throws with a code
 */
export async function openPlugin(plugin: ExecutorPlugin, options?: ExecutorOptions): Promise<Executor> {
  const executor: Partial<Executor> | undefined = await opened(plugin, options);
  const methods = ['supports', 'compile', 'allocate', 'upload', 'download', 'submit', 'wait'] as const;
  const missing = methods.find((name) => typeof executor?.[name] !== 'function');
  const problem =
    typeof executor !== 'object' || executor === null
      ? `open() gave ${String(executor)}`
      : missing !== undefined
        ? `what open() gave has no function ${missing}`
        : typeof executor[Symbol.asyncDispose] !== 'function'
          ? 'what open() gave has no [Symbol.asyncDispose]'
          : typeof executor.capabilities !== 'object'
            ? 'what open() gave has no capabilities'
            : undefined;
  if (problem === undefined) return executor as Executor;
  throw new QuaverError('executor-plugin-invalid', `executor '${plugin.id}': ${problem}`, {
    hint: 'See the interface Executor of @quaver/executor.',
    where: { executor: plugin.id },
  });
}

async function opened(plugin: ExecutorPlugin, options: ExecutorOptions | undefined): Promise<Executor> {
  try {
    return await plugin.open(options);
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') throw error;
    throw new QuaverError('executor-plugin-failed', `executor '${plugin.id}' cannot be opened: ${String(error)}`, {
      where: { executor: plugin.id },
      cause: error,
    });
  }
}

/** Plug-ins come from anyone's package, so their shape is looked at. */
function problemOf(plugin: unknown): string | undefined {
  if (typeof plugin !== 'object' || plugin === null) return `it is ${plugin === null ? 'null' : typeof plugin}`;
  const { apiVersion, id, listDevices, open } = plugin as Partial<Record<keyof ExecutorPlugin, unknown>>;
  if (apiVersion !== 1) return `its apiVersion is ${String(apiVersion)}`;
  if (typeof id !== 'string' || id === '') return 'it has no id';
  if (typeof listDevices !== 'function') return `'${id}' has no function listDevices`;
  if (typeof open !== 'function') return `'${id}' has no function open`;
  return undefined;
}
