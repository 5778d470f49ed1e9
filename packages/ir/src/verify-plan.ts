/** @file The part of the semantic verifier that judges memory plans. */
import { type Dim, evaluateDim } from './dim.ts';
import type { GraphFunction, MemoryPlan, SymbolicDim, Value } from './module.ts';
import { byteCount } from './type.ts';
import { type Place, refuse, type TypeVerifier } from './verify-types.ts';

interface Live {
  readonly value: Value;
  /** Index of the node that makes the value. */
  readonly from: number;
  /** Index of the last node that reads it; Infinity for an output or a state's update. */
  readonly to: number;
}

/**
 * A value lives from the node that makes it to the last node that reads it, both included: a node's result never
 * shares a slot with its operands. A slot is large enough when its size has the value's symbols and at least its
 * coefficient, or when its smallest size holds the value at its largest.
 */
export function verifyPlan(fn: GraphFunction, plan: MemoryPlan, types: TypeVerifier): void {
  for (const slot of plan.slots) types.dim(slot, { function: fn.name });
  const live = new Map(liveRanges(fn).map((range) => [range.value.name, range]));
  const bySlot = new Map<number, Live[]>();
  for (const [name, slot] of Object.entries(plan.slotOf)) {
    const place = { function: fn.name, value: name };
    const range = live.get(name);
    if (range === undefined) refuse('verify-plan', place, 'it has a slot but is not the result of a node');
    if (!Number.isInteger(slot) || slot < 0 || slot >= plan.slots.length) {
      refuse('verify-plan', place, `slot ${slot} does not exist: the plan has ${plan.slots.length}`);
    }
    verifySlotSize(range.value, plan.slots[slot]!, types.symbols, place);
    const sharing = bySlot.get(slot);
    if (sharing) sharing.push(range);
    else bySlot.set(slot, [range]);
  }
  for (const [slot, sharing] of bySlot) verifySharing(fn, slot, sharing);
}

function liveRanges(fn: GraphFunction): Live[] {
  const lastUse = new Map<Value, number>();
  fn.nodes.forEach((node, i) => {
    for (const operand of node.operands) if (operand) lastUse.set(operand, i);
  });
  for (const { value } of [...fn.outputs, ...fn.updates]) lastUse.set(value, Number.POSITIVE_INFINITY);
  return fn.nodes.flatMap((node, from) =>
    node.results.map((value) => ({ value, from, to: lastUse.get(value) ?? from })),
  );
}

function verifySharing(fn: GraphFunction, slot: number, sharing: Live[]): void {
  sharing.sort((a, b) => a.from - b.from);
  let busy: Live | undefined;
  for (const range of sharing) {
    if (busy && range.from <= busy.to) {
      const place = { function: fn.name, node: range.from, value: range.value.name };
      refuse('verify-plan', place, `it is made while %${busy.value.name} still lives in the same slot ${slot}`);
    }
    busy = range;
  }
}

function verifySlotSize(value: Value, slot: Dim, symbols: ReadonlyMap<string, SymbolicDim>, place: Place): void {
  const need = byteCount(value.type);
  const [needCoefficient, needSymbols] = splitDim(need);
  const [slotCoefficient, slotSymbols] = splitDim(slot);
  if (needSymbols === slotSymbols && needCoefficient <= slotCoefficient) return;
  const bound = (side: 'min' | 'max') =>
    Object.fromEntries([...symbols.values()].map(({ name, [side]: n }) => [name, n]));
  if (evaluateDim(need, bound('max')) <= evaluateDim(slot, bound('min'))) return;
  refuse('verify-plan', place, `it needs ${need} bytes but its slot has ${slot}`);
}

/** The coefficient of a canonical dimension, and what it multiplies. */
function splitDim(dim: Dim): readonly [number, string] {
  if (typeof dim === 'number') return [dim, ''];
  const match = /^(\d+)\*(.*)$/.exec(dim);
  return match ? [Number(match[1]), match[2]!] : [1, dim];
}
