import {
  type Attributes,
  type Dim,
  type GraphFunction,
  type Module,
  type Node,
  type OpDefinition,
  type OpRegistry,
  parseDim,
  sameType,
  type TensorType,
  type Value,
} from '@quaver/ir';
import type { Pass } from '../pass.ts';

/** Symbolic dimensions by name, and the number that each stands for. */
type Sizes = ReadonlyMap<string, number>;

/** A symbol whose minimum is its maximum is a number in disguise. */
export const inferShapes: Pass = {
  name: 'infer-shapes',
  description: 'Infers all types from the inputs; symbolic dimensions that can take one value only become numbers.',
  run(module, { registry }) {
    const sizes = new Map(module.symbols.filter(({ min, max }) => min === max).map(({ name, min }) => [name, min]));
    const functions = module.functions.map((fn) => inferFunction(fn, sizes, registry));
    if (sizes.size === 0 && functions.every((fn, i) => fn === module.functions[i])) return module;
    const symbols = module.symbols.filter(({ name }) => !sizes.has(name));
    const states = module.states.map((state) => ({ ...state, type: bindSizes(state.type, sizes) }));
    return { ...module, symbols, states, functions } satisfies Module;
  },
};

function inferFunction(fn: GraphFunction, sizes: Sizes, registry: OpRegistry): GraphFunction {
  const retyped = new Map<Value, Value>();
  const resolve = (value: Value) => retyped.get(value) ?? value;
  const withType = (value: Value, type: TensorType): Value => {
    if (sameType(value.type, type)) return value;
    const changed = { ...value, type };
    retyped.set(value, changed);
    return changed;
  };
  const bind = (value: Value) => withType(value, bindSizes(value.type, sizes));
  const inputs = fn.inputs.map(bind);
  const states = fn.states.map(bind);
  let changed = retyped.size > 0;
  const nodes = fn.nodes.map((node): Node => {
    const op = registry.get(node.domain, node.op, node.version);
    const operands = node.operands.map((value) => value && resolve(value));
    const given = bindAttributes(op, node.attributes, sizes);
    const { results: types } = op.infer(
      operands.map((value) => value?.type),
      given,
    );
    const results = node.results.map((value, i) => withType(value, types[i]!));
    const same = (a: readonly unknown[], b: readonly unknown[]) => a.every((item, i) => item === b[i]);
    if (given === node.attributes && same(operands, node.operands) && same(results, node.results)) return node;
    changed = true;
    return { ...node, operands, attributes: given, results };
  });
  if (!changed) return fn;
  const outputs = fn.outputs.map(({ name, value }) => ({ name, value: resolve(value) }));
  const updates = fn.updates.map((update) => ({ ...update, value: resolve(update.value) }));
  return { ...fn, inputs, states, nodes, outputs, updates, plan: undefined };
}

function bindSizes(type: TensorType, sizes: Sizes): TensorType {
  return { dtype: type.dtype, shape: type.shape.map((dim) => bindDim(dim, sizes)) };
}

function bindDim(dim: Dim, sizes: Sizes): Dim {
  if (typeof dim === 'number' || sizes.size === 0) return dim;
  return parseDim(dim.replaceAll(/[A-Za-z_][A-Za-z0-9_]*/g, (name) => String(sizes.get(name) ?? name)));
}

function bindAttributes(op: OpDefinition, attributes: Attributes, sizes: Sizes): Attributes {
  let changed = false;
  const entries = Object.entries(attributes).map(([name, value]) => {
    if (op.attributes[name]?.kind !== 'dims') return [name, value] as const;
    const bound = (value as readonly Dim[]).map((dim) => bindDim(dim, sizes));
    changed ||= bound.some((dim, i) => dim !== (value as readonly Dim[])[i]);
    return [name, bound] as const;
  });
  return changed ? Object.fromEntries(entries) : attributes;
}
