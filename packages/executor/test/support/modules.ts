/** @file Small modules with known results. */
import {
  coreOps,
  GraphBuilder,
  type GraphFunction,
  type HostTensor,
  type Module,
  memoryData,
  type OpRegistry,
  type Parameter,
  type StateVariable,
  verifyModule,
} from '@quaver/ir';

export function f32(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { type: { dtype: 'f32', shape }, data: Float32Array.from(values) };
}

export function i32(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { type: { dtype: 'i32', shape }, data: Int32Array.from(values) };
}

export function f32Parameter(name: string, values: readonly number[]): Parameter {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  return { name, type: { dtype: 'f32', shape: [values.length] }, data: memoryData(bytes), trainable: true };
}

type Parts = Partial<Pick<Module, 'symbols' | 'parameters' | 'states'>>;

export function moduleOf(
  functions: readonly GraphFunction[],
  parts: Parts = {},
  registry: OpRegistry = coreOps,
): Module {
  const module: Module = {
    name: 'small',
    symbols: [],
    parameters: [],
    states: [],
    metadata: {},
    attachments: new Map(),
    ...parts,
    functions,
  };
  verifyModule(module, { registry });
  return module;
}

const total: StateVariable = { name: 'total', type: { dtype: 'f32', shape: ['B', 3] } };

/**
 * `step(x[B,3])`: total += x · weights; gives the new total, and x · weights as `scaled`.
 * `scale(x[B,3])`: x · others, without state.
 */
export function accumulator(): Module {
  const weights = f32Parameter('weights', [1, 10, 100]);
  const others = f32Parameter('others', [2, 2, 2]);
  return moduleOf([stepFunction(weights), scaleFunction(others)], {
    symbols: [{ name: 'B', min: 1, max: 4, multiple: 1 }],
    parameters: [weights, others],
    states: [total],
  });
}

function times(g: GraphBuilder, parameter: Parameter) {
  const x = g.input('x', 'f32', ['B', 3]);
  const wide = g.op('broadcast_in_dim', [g.parameter(parameter)], { shape: ['B', 3], dims: [1] });
  return g.op('multiply', [x, wide]);
}

function stepFunction(weights: Parameter): GraphFunction {
  const g = new GraphBuilder('step');
  const scaled = times(g, weights);
  const sum = g.op('add', [g.state(total), scaled]);
  g.update(total, sum);
  g.output('total', sum);
  g.output('scaled', scaled);
  return g.finish();
}

function scaleFunction(others: Parameter): GraphFunction {
  const g = new GraphBuilder('scale');
  g.output('y', times(g, others));
  return g.finish();
}

/** `main(x[elements])` as a chain of `length` additions of x. Elements are added to a running sum, in order. */
export function chain(length: number, elements: number): Module {
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', [elements]);
  let sum = x;
  for (let i = 0; i < length; i++) sum = g.op('add', [sum, x]);
  g.output('y', sum);
  return moduleOf([g.finish()]);
}

/** `swap()` exchanges two states; `put(a, b)` sets them; `get()` reads them. */
export function swapper(): Module {
  const a: StateVariable = { name: 'a', type: { dtype: 'f32', shape: [2] } };
  const b: StateVariable = { name: 'b', type: { dtype: 'f32', shape: [2] } };
  const swap = new GraphBuilder('swap');
  swap.update(a, swap.state(b));
  swap.update(b, swap.state(a));
  swap.output('old_a', swap.state(a));
  const put = new GraphBuilder('put');
  put.update(a, put.input('x', 'f32', [2]));
  put.update(b, put.input('y', 'f32', [2]));
  const get = new GraphBuilder('get');
  get.output('a', get.state(a));
  get.output('b', get.state(b));
  return moduleOf([swap.finish(), put.finish(), get.finish()], { states: [a, b] });
}

/** `train(x[3])` adds x to the parameter 'w' and counts in the state 'steps'; `read()` gives both; `only_weights()` has no state. */
export function trainer(): Module {
  const w = f32Parameter('w', [1, 2, 3]);
  const copy = { ...f32Parameter('copy', [0, 0, 0]), trainable: false };
  const steps: StateVariable = { name: 'steps', type: { dtype: 'f32', shape: [1] } };
  const other: StateVariable = { name: 'other', type: { dtype: 'f32', shape: ['B'] } };
  const train = new GraphBuilder('train');
  const moved = train.op('add', [train.parameter(w), train.input('x', 'f32', [3])]);
  train.updateParameter(w, moved);
  train.updateParameter(copy, train.op('negate', [moved]));
  train.update(steps, train.op('add', [train.state(steps), train.constant(1, 'f32', [1])]));
  train.output('old', train.parameter(w));
  const read = new GraphBuilder('read');
  read.output('w', read.parameter(w));
  read.output('copy', read.parameter(copy));
  read.output('steps', read.state(steps));
  const touch = new GraphBuilder('touch');
  touch.update(other, touch.input('x', 'f32', ['B']));
  return moduleOf([train.finish(), read.finish(), touch.finish()], {
    symbols: [{ name: 'B', min: 1, max: 4, multiple: 1 }],
    parameters: [w, copy],
    states: [steps, other],
  });
}
