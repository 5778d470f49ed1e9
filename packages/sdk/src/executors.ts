import { type ExecutorPlugin, ExecutorRegistry, nullPlugin, referencePlugin } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';

/** The executor that is used where none is named. */
export const defaultExecutor = 'cpu';

/**
 * A registry with the executors that come with the SDK (`cpu`, `reference`, `null`) and any others.
 * @throws QuaverError `executor-plugin-invalid`, `executor-duplicate`
 */
export function executorRegistry(plugins: Iterable<ExecutorPlugin> = []): ExecutorRegistry {
  return new ExecutorRegistry([cpuPlugin, referencePlugin(), nullPlugin, ...plugins]);
}
