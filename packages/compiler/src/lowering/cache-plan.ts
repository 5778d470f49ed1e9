import {
  type GraphFunction,
  type Module,
  type Node,
  type Update,
  updatedNames,
  type Value,
  writesInPlace,
} from '@quaver/ir';
import { phaseOf } from '../graph/phase.ts';
import { producersOf, usersOf } from '../graph/value-uses.ts';
import type { AttentionPrecision, Recipe } from '../recipe/recipe.ts';
import { type Refusal, readRequest } from './annotations.ts';

/** What becomes of every key and value cache of a module. */
export interface CachePlan {
  /** The precision of each cache state that can be changed. */
  readonly precision: ReadonlyMap<string, AttentionPrecision>;
  /** Why a cache state must stay as it is. */
  readonly refused: ReadonlyMap<string, Refusal>;
}

/** The write into a cache that keys or values come from: `dynamic_update_slice(state, …)` or `paged_update(state, …)`. */
export function cacheWriteOf(value: Value, producers: ReadonlyMap<Value, Node>): Node | undefined {
  const node = producers.get(value);
  return node && writesInPlace(node) && node.operands[0]!.kind === 'state' ? node : undefined;
}

/**
 * A state is shared by functions, so its precision is decided for the whole module: every function that mentions it must
 * use it as a cache (write new tokens, hand it to attention, store it) and ask for the same precision.
 */
export function planCaches(module: Module, recipe: Recipe): CachePlan {
  const precision = new Map<string, AttentionPrecision>();
  const refused = new Map<string, Refusal>();
  for (const fn of module.functions) {
    const wanted = recipe[phaseOf(module, fn.name)].kv_cache;
    for (const [state, problem] of cachesOf(fn)) {
      const known = precision.get(state);
      if (problem) refused.set(state, problem);
      else if (known !== undefined && known !== wanted) {
        refused.set(state, {
          code: 'cache-phase-conflict',
          reason: `the state ${state} would be ${known} in one function and ${wanted} in ${fn.name}`,
          hint: 'A cache has one precision: give both phases the same kv_cache.',
        });
      } else precision.set(state, wanted);
    }
  }
  for (const state of refused.keys()) precision.delete(state);
  return { precision, refused };
}

/** The caches of a function, with what stands against changing them. */
function cachesOf(fn: GraphFunction): Map<string, Refusal | undefined> {
  const producers = producersOf(fn);
  const users = usersOf(fn);
  const caches = new Map<string, Refusal | undefined>();
  for (const node of fn.nodes) {
    if (readRequest(node)?.role !== 'attention') continue;
    for (const value of [node.operands[1]!, node.operands[2]!]) {
      const write = cacheWriteOf(value, producers);
      if (write) caches.set(write.operands[0]!.ref!, misuse(fn, write, users));
    }
  }
  for (const value of fn.states) {
    const used = users.has(value) || updatedNames(fn, 'state').has(value.ref!);
    if (used && !caches.has(value.ref!)) {
      caches.set(value.ref!, unknownUse(value.ref!, 'a node that is not attention'));
    }
  }
  return caches;
}

function misuse(fn: GraphFunction, write: Node, users: ReadonlyMap<Value, readonly Node[]>): Refusal | undefined {
  const state = write.operands[0]!;
  const written = write.results[0]!;
  const strangers = [
    ...(users.get(state) ?? []).filter((user) => user !== write),
    ...(users.get(written) ?? []).filter((user) => user.op !== 'attention'),
  ];
  if (strangers.length > 0) return unknownUse(state.ref!, strangers[0]!.op);
  if (fn.outputs.some(({ value }) => value === written || value === state)) return unknownUse(state.ref!, 'an output');
  const isOwn = ({ target, name }: Update) => target === 'state' && name === state.ref;
  const stored = fn.updates.filter((update) => isOwn(update) || update.value === written);
  return stored.every((update) => isOwn(update) && update.value === written)
    ? undefined
    : unknownUse(state.ref!, 'another state update');
}

function unknownUse(state: string, user: string): Refusal {
  return {
    code: 'cache-use-unknown',
    reason: `the state ${state} is also read by ${user}, which needs it as it is`,
    hint: 'Only caches that are written by dynamic_update_slice or paged_update and read by attention can change precision.',
  };
}
