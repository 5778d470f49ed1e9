import { coreOps, FunctionRewriter, type GraphFunction, type Module, type Node, type Value } from '@quaver/ir';
import { phaseOf } from '../graph/phase.ts';
import { producersOf } from '../graph/value-uses.ts';
import type { Phase } from '../recipe/recipe.ts';
import { readLowered, requestAnnotation } from './annotations.ts';
import { cacheWriteOf } from './cache-plan.ts';

/**
 * Takes the precision back that `fp8-lower` gave to attention and its caches: operands are the f32 values from before
 * their casts, caches are f32, scale caches are gone, and attention asks for a precision again. The rest stays lowered.
 */
export function raiseAttention(module: Module): Module {
  const scaleStates = new Set<string>();
  const functions = module.functions.map((fn) => raiseFunction(fn, module, scaleStates));
  const caches = new Map(functions.flatMap((fn) => fn.states.map((value) => [value.ref!, value.type])));
  const states = module.states
    .filter(({ name }) => !scaleStates.has(name))
    .map((state) => ({ ...state, type: caches.get(state.name) ?? state.type }));
  return { ...module, functions, states };
}

function raiseFunction(fn: GraphFunction, module: Module, scaleStates: Set<string>): GraphFunction {
  const producers = producersOf(fn);
  const rewriter = new FunctionRewriter(fn);
  const raised = fn.nodes.filter((node) => readLowered(node)?.role.startsWith('attention'));
  const writes = new Map<Node, 'values' | 'scales'>();
  for (const { operands } of raised) {
    for (const value of operands.slice(1, 3)) markWrite(value, 'values', producers, writes);
    for (const value of operands.slice(4, 6)) markWrite(value, 'scales', producers, writes);
  }
  const dropped = new Set<string>();
  for (const [write, kind] of writes) {
    const state = write.operands[0]!;
    if (kind === 'scales') dropped.add(state.ref!);
    else rewriter.retype(state, { ...state.type, dtype: 'f32' });
  }
  for (const state of dropped) scaleStates.add(state);

  for (const node of fn.nodes) {
    const kind = writes.get(node);
    if (kind === 'scales') rewriter.drop(node);
    else if (kind === 'values') {
      const [state, update, ...where] = node.operands as readonly [Value, Value, ...Value[]];
      const operands = [state, sourceOf(update, node, producers, rewriter), ...where];
      rewriter.drop(node);
      rewriter.replace(node.results[0]!, rewriter.op(node.op, operands, node.attributes, node));
    } else if (raised.includes(node)) {
      rewriter.drop(node);
      const results = raiseNode(node, phaseOf(module, fn.name), producers, rewriter);
      for (const [i, value] of node.results.entries()) rewriter.replace(value, results[i]!);
    } else rewriter.keep(node);
  }
  const result = rewriter.finish();
  return {
    ...result,
    states: result.states.filter(({ ref }) => !dropped.has(ref!)),
    updates: result.updates.filter(({ target, name }) => target === 'parameter' || !dropped.has(name)),
  };
}

/** Attention, or its gradient, on f32 operands without scales. */
function raiseNode(
  node: Node,
  choice: Phase,
  producers: ReadonlyMap<Value, Node>,
  rewriter: FunctionRewriter,
): readonly Value[] {
  const op = coreOps.get(node.domain, node.op, node.version);
  const operands = Object.keys(op.operands).map((name, i) => {
    const value = node.operands[i];
    if (!value || name.endsWith('_scale')) return undefined;
    const stays = value.type.dtype === 'i32' || cacheWriteOf(value, producers);
    return stays ? value : sourceOf(value, node, producers, rewriter);
  });
  const { lowered: _, ...annotations } = node.annotations;
  const request = requestAnnotation({ role: readLowered(node)!.role, choice });
  const origin = { location: node.location, annotations: { ...annotations, ...request } };
  return rewriter.apply(op, operands, { ...node.attributes, probs: 'f32' }, origin);
}

function markWrite(
  value: Value | undefined,
  kind: 'values' | 'scales',
  producers: ReadonlyMap<Value, Node>,
  writes: Map<Node, 'values' | 'scales'>,
): void {
  const write = value && cacheWriteOf(value, producers);
  if (write) writes.set(write, kind);
}

/** The f32 value that an operand of attention was made from by a cast or by quantization. */
function sourceOf(value: Value, user: Node, producers: ReadonlyMap<Value, Node>, rewriter: FunctionRewriter): Value {
  const producer = producers.get(value);
  const isCast = ['convert', 'quantize', 'dynamic_quantize', 'dequantize'].includes(producer?.op ?? '');
  if (value.type.dtype !== 'f32' && producer && isCast)
    return sourceOf(producer.operands[0]!, user, producers, rewriter);
  if (value.type.dtype === 'f32') return value;
  // A value that was bf16 all along: widening is exact, and lowering undoes it.
  return rewriter.op('convert', [value], { to: 'f32' }, { location: user.location });
}
