import type { DimBindings } from './dim.ts';
import type { GraphFunction, Value } from './module.ts';
import { coreOps } from './ops/index.ts';
import type { OpRegistry } from './registry.ts';
import { bindType } from './type.ts';

/**
 * Floating-point operations of a function at given sizes, as its ops count them.
 * @throws QuaverError `op-unknown`, `dim-unbound`
 */
export function functionFlops(fn: GraphFunction, symbols: DimBindings, registry: OpRegistry = coreOps): number {
  const concrete = (value: Value) => bindType(value.type, symbols);
  return fn.nodes.reduce((sum, { domain, op, version, operands, results, attributes }) => {
    const types = operands.map((value) => value && concrete(value));
    return sum + registry.get(domain, op, version).flops(types, attributes, results.map(concrete));
  }, 0);
}
