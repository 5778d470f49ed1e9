/** @file Executors with a deliberate fault: the reference executor, with some of its methods replaced. */
import { type Executor, type ExecutorPlugin, referencePlugin } from '@quaver/executor';

/** @param faults given the real executor, what to use in its place */
export function faulty(faults: (real: Executor) => Partial<Executor>): ExecutorPlugin {
  const plugin = referencePlugin();
  return {
    ...plugin,
    id: 'faulty',
    open: async (options) => {
      const real = await plugin.open(options);
      const replaced: Partial<Record<PropertyKey, unknown>> = faults(real);
      return new Proxy(real, {
        get: (_target, key) => {
          if (Object.hasOwn(replaced, key)) return replaced[key];
          const value: unknown = Reflect.get(real, key);
          return typeof value === 'function' ? value.bind(real) : value;
        },
      });
    },
  };
}

/** Flips the lowest bit of the first byte of everything that is downloaded. */
export const oneBitOff: ExecutorPlugin = faulty((real) => ({
  async download(buffer) {
    const bytes = await real.download(buffer);
    if (bytes.byteLength > 0) bytes[0]! ^= 1;
    return bytes;
  },
}));
