/**
 * @file Memory planning: which intermediate values may share memory.
 *
 * Nodes run in order. A value lives from the node that makes it to the last node that reads it, both included, and two
 * values with the same slot never live at the same time. Only values whose byte counts differ by a number alone (`4*B*T`
 * and `1024*B*T`) share a slot, because only then the larger one is known before the symbols are.
 */
import type { Dim } from '../dim.ts';
import type { GraphFunction, Node, Value } from '../module.ts';
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
 * Gives every intermediate value a slot. Inputs, parameters, states and outputs have none, nor has a state update that is
 * written in place: a chain of `dynamic_update_slice` on the state value in which nobody reads the older contents later.
 * An update that is computed apart from its state keeps its slot until the function ends.
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

/** The values of every `state → dynamic_update_slice → … → update` chain that can be written into the state's memory. */
function inPlaceUpdates(fn: GraphFunction, lastUse: ReadonlyMap<Value, number>): Set<Value> {
  const producer = new Map<Value, { readonly node: Node; readonly index: number }>();
  fn.nodes.forEach((node, index) => {
    for (const value of node.results) producer.set(value, { node, index });
  });
  const inPlace = new Set<Value>();
  for (const { state, value } of fn.updates) {
    const chain: Value[] = [];
    let current = value;
    let safe = true;
    while (current.ref !== state && safe) {
      const made = producer.get(current);
      const older = made?.node.operands[0];
      safe =
        made?.node.op === 'dynamic_update_slice' &&
        lastUse.get(older!) === made.index &&
        made.node.operands.indexOf(older, 1) < 0;
      if (!safe) break;
      chain.push(current);
      current = older!;
    }
    if (safe) for (const link of chain) inPlace.add(link);
  }
  return inPlace;
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
