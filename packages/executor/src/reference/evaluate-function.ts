import {
  bindType,
  type DimBindings,
  type GraphFunction,
  type HostTensor,
  type OpRegistry,
  type Value,
} from '@quaver/ir';
import { throwIfAborted } from '../abort.ts';
import { TurnClock } from '../event-loop.ts';
import { nodeError } from '../node-error.ts';

export interface Evaluation {
  readonly fn: GraphFunction;
  /** The tensors of inputs, parameters and states; they are not written to. */
  readonly bound: ReadonlyMap<Value, HostTensor>;
  readonly symbols: DimBindings;
  readonly registry: OpRegistry;
  readonly signal: AbortSignal | undefined;
}

/**
 * Evaluates the nodes of a function that holds primitives only, in order. The event loop gets a turn between nodes now
 * and then; a value is dropped after its last use.
 * @returns what outputs and updates name; results may share memory with what was bound
 * @throws QuaverError `aborted`, and what ops throw (`gather-index`), naming node and location
 */
export async function evaluateFunction(evaluation: Evaluation): Promise<ReadonlyMap<Value, HostTensor>> {
  const { fn, bound, symbols, registry, signal } = evaluation;
  const values = new Map(bound);
  const lastUse = lastUses(fn);
  const clock = new TurnClock();
  for (const [index, node] of fn.nodes.entries()) {
    if (clock.isDue) await clock.turn();
    throwIfAborted(signal);
    const op = registry.get(node.domain, node.op, node.version);
    const types = node.results.map((value) => bindType(value.type, symbols));
    const operands = node.operands.map((value) => value && values.get(value));
    try {
      const results = op.evaluate(operands, node.attributes, types);
      for (const [r, value] of node.results.entries()) values.set(value, results[r]!);
    } catch (error) {
      throw nodeError(node, error);
    }
    for (const value of [...node.operands, ...node.results]) {
      if (value && (lastUse.get(value) ?? index) <= index) values.delete(value);
    }
  }
  return values;
}

/** The index of the last node that reads each value; Infinity for outputs and updates. */
function lastUses(fn: GraphFunction): ReadonlyMap<Value, number> {
  const lastUse = new Map<Value, number>();
  for (const [index, { operands }] of fn.nodes.entries()) {
    for (const value of operands) if (value) lastUse.set(value, index);
  }
  for (const { value } of [...fn.outputs, ...fn.updates]) lastUse.set(value, Number.POSITIVE_INFINITY);
  return lastUse;
}
