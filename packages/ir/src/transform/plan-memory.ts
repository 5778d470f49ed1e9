/**
 * @file Memory planning: which intermediate values may share memory.
 *
 * Nodes run in order. A value lives from the node that makes it to the last node that reads it, both included, and two
 * values with the same slot never live at the same time. Only values whose byte counts differ by a number alone (`4*B*T`
 * and `1024*B*T`) share a slot, because only then the larger one is known before the symbols are.
 */
import type { Dim } from '../dim.ts';
import type { GraphFunction, Node, Update, Value } from '../module.ts';
import { coreOps } from '../ops/index.ts';
import { byteCount } from '../type.ts';

/** A byte count: `coefficient` times a product of symbolic factors in canonical text ('' when there are none). */
interface Size {
  readonly coefficient: number;
  readonly factors: string;
}

interface Slot {
  coefficient: number;
  readonly factors: string;
}

function sizeOf(bytes: Dim): Size {
  if (typeof bytes === 'number') return { coefficient: bytes, factors: '' };
  const match = /^(\d+)\*(.+)$/.exec(bytes);
  return match ? { coefficient: Number(match[1]), factors: match[2]! } : { coefficient: 1, factors: bytes };
}

function dimOf(slot: Slot): Dim {
  if (slot.factors === '') return slot.coefficient;
  return slot.coefficient === 1 ? slot.factors : `${slot.coefficient}*${slot.factors}`;
}

/**
 * Gives every intermediate value a slot. Inputs, parameters, states and outputs have none, nor has an update that is
 * written in place: a chain of `dynamic_update_slice` or `paged_update` on the old contents, or any value that is made when nobody will read
 * the old contents any more; its own node may, if it is elementwise. Other updates keep their slots until the function ends.
 * The result depends on the function alone, and sizes are dimensions: multiply out and round up at run time.
 */
export function planMemory(fn: GraphFunction): GraphFunction {
  const lastUse = lastUses(fn);
  const unplanned = new Set<Value>(fn.outputs.map((output) => output.value));
  for (const value of inPlaceUpdates(fn, lastUse)) unplanned.add(value);

  const slots: Slot[] = [];
  const slotOf: Record<string, number> = {};
  const assigned = new Map<Value, number>();
  const free = new Map<string, number[]>();

  fn.nodes.forEach((node, index) => {
    for (const value of node.results) {
      if (unplanned.has(value)) continue;
      const slot = takeFree(sizeOf(byteCount(value.type)), free, slots);
      assigned.set(value, slot);
      slotOf[value.name] = slot;
    }
    for (const value of new Set([...node.operands, ...node.results])) {
      const slot = value && assigned.get(value);
      if (slot !== undefined && (lastUse.get(value!) ?? index) === index) release(slot, slots, free);
    }
  });
  return { ...fn, plan: { slots: slots.map(dimOf), slotOf } };
}

/** The index of the last node that reads each value; the node count for values read after the last node. */
function lastUses(fn: GraphFunction): Map<Value, number> {
  const last = new Map<Value, number>();
  fn.nodes.forEach((node, index) => {
    for (const value of node.operands) if (value) last.set(value, index);
  });
  for (const { value } of fn.outputs) last.set(value, fn.nodes.length);
  for (const { value } of fn.updates) last.set(value, fn.nodes.length);
  return last;
}

/** Where values are made: the node and its index. */
type Producers = ReadonlyMap<Value, { readonly node: Node; readonly index: number }>;

/** The values that can be written straight into the memory of the state or parameter that they update. */
function inPlaceUpdates(fn: GraphFunction, lastUse: ReadonlyMap<Value, number>): Set<Value> {
  const producers = new Map<Value, { readonly node: Node; readonly index: number }>();
  fn.nodes.forEach((node, index) => {
    for (const value of node.results) producers.set(value, { node, index });
  });
  const inPlace = new Set<Value>();
  const seen = new Set<Value>();
  for (const update of fn.updates) {
    // A value that goes to several places lives in the first of them.
    if (seen.has(update.value)) continue;
    seen.add(update.value);
    const chain = sliceChain(update, producers, lastUse);
    if (chain) for (const link of chain) inPlace.add(link);
    else if (replacesOld(fn, update, producers, lastUse)) inPlace.add(update.value);
  }
  return inPlace;
}

/** The values of a chain `old contents → slice or paged update → … → update`, when nobody reads a link after the next one is made. */
function sliceChain(
  { name, value }: Update,
  producers: Producers,
  lastUse: ReadonlyMap<Value, number>,
): readonly Value[] | undefined {
  const chain: Value[] = [];
  let current = value;
  while (current.ref !== name) {
    const made = producers.get(current);
    const older = made?.node.operands[0];
    const safe =
      made !== undefined &&
      writesInPlace(made.node) &&
      lastUse.get(older!) === made.index &&
      made.node.operands.indexOf(older, 1) < 0;
    if (!safe) return undefined;
    chain.push(current);
    current = older!;
  }
  return chain;
}

/** Whether a node changes a few elements of its first operand, and may do so where that lies. */
export function writesInPlace({ domain, op }: Node): boolean {
  return domain === 'core' && (op === 'dynamic_update_slice' || op === 'paged_update');
}

/** Nobody reads the old contents after the new ones are made, and their maker at most element by element. */
function replacesOld(
  fn: GraphFunction,
  { target, name, value }: Update,
  producers: Producers,
  lastUse: ReadonlyMap<Value, number>,
): boolean {
  const made = producers.get(value);
  if (!made) return false;
  const olds = (target === 'state' ? fn.states : fn.parameters).filter(({ ref }) => ref === name);
  return olds.every((old) => {
    const last = lastUse.get(old) ?? -1;
    return last < made.index || (last === made.index && isElementwise(made.node));
  });
}

function isElementwise({ domain, op, version }: Node): boolean {
  return coreOps.find(domain, op, version)?.traits.includes('elementwise') ?? false;
}

/** The smallest free slot that is large enough, else the largest one, enlarged; a new slot when none is free. */
function takeFree(size: Size, free: Map<string, number[]>, slots: Slot[]): number {
  const candidates = free.get(size.factors) ?? [];
  if (candidates.length === 0) {
    slots.push({ ...size });
    return slots.length - 1;
  }
  let at = candidates.findIndex((slot) => slots[slot]!.coefficient >= size.coefficient);
  if (at < 0) at = candidates.length - 1;
  const slot = candidates.splice(at, 1)[0]!;
  slots[slot]!.coefficient = Math.max(slots[slot]!.coefficient, size.coefficient);
  return slot;
}

/** Free slots are kept in order of size, then of age. */
function release(slot: number, slots: readonly Slot[], free: Map<string, number[]>): void {
  const { factors } = slots[slot]!;
  const list = free.get(factors) ?? [];
  list.push(slot);
  list.sort((a, b) => slots[a]!.coefficient - slots[b]!.coefficient || a - b);
  free.set(factors, list);
}
