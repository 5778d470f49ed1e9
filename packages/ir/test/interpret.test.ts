import {
  coreOps,
  defineOp,
  expandComposite,
  GraphBuilder,
  type GraphFunction,
  interpretFunction,
  OpRegistry,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { bitsOf, numbersOf, randomNumbers, runOne, stored } from './op-runner.ts';

const cacheState = { name: 'cache', type: { dtype: 'f32', shape: ['B', 'S', 2] } } as const;

/** Writes x at `start` into the cache and gives the sum of the cache over its tokens. */
function cachedSum(): GraphFunction {
  const g = new GraphBuilder('cached_sum');
  const x = g.input('x', 'f32', ['B', 'T', 2]);
  const start = g.input('start', 'i32', ['B']);
  const cache = g.op('dynamic_update_slice', [g.state(cacheState), x, start], { axis: 1 });
  g.update(cacheState, cache);
  g.output('sum', g.op('reduce', [cache], { kind: 'sum', axes: [1] }));
  return g.finish();
}

const errorOf = (run: () => unknown): QuaverError => {
  try {
    run();
  } catch (error) {
    if (error instanceof QuaverError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('interpretFunction', () => {
  test('reads inputs, parameters and state; gives outputs and new state', () => {
    const fn = cachedSum();
    const before = stored('f32', [1, 4, 2], [1, 2, 0, 0, 0, 0, 0, 0]);
    const inputs = { x: stored('f32', [1, 2, 2], [3, 4, 5, 6]), start: stored('i32', [1], [1]) };
    const { outputs, states } = interpretFunction(fn, { inputs, states: () => before });
    expect(numbersOf(states.cache!)).toEqual([1, 2, 3, 4, 5, 6, 0, 0]);
    expect(numbersOf(outputs.sum!)).toEqual([9, 12]);
    expect(numbersOf(before)).toEqual([1, 2, 0, 0, 0, 0, 0, 0]);
  });

  test('results never share memory with what was bound', () => {
    const g = new GraphBuilder('pass');
    const x = g.input('x', 'f32', ['B', 2]);
    g.output('same', x);
    g.output('flat', g.op('reshape', [x], { shape: ['2*B'] }));
    const weight = g.parameter({ name: 'w', type: { dtype: 'f32', shape: [1] } });
    g.output('weight', weight);
    const bound = { x: stored('f32', [1, 2], [1, 2]), w: stored('f32', [1], [3]) };
    const { outputs } = interpretFunction(g.finish(), { inputs: { x: bound.x }, parameters: () => bound.w });
    bound.x.data.fill(0);
    bound.w.data.fill(0);
    expect([outputs.same!, outputs.flat!, outputs.weight!].map(numbersOf)).toEqual([[1, 2], [1, 2], [3]]);
  });

  test('an empty batch runs', () => {
    const inputs = { x: stored('f32', [0, 2, 2], []), start: stored('i32', [0], []) };
    const { outputs } = interpretFunction(cachedSum(), { inputs, states: () => stored('f32', [0, 4, 2], []) });
    expect(outputs.sum!.type.shape).toEqual([0, 2]);
  });

  test('onNode sees the nodes of the function in order, with operands and results', () => {
    const g = new GraphBuilder('two');
    const x = g.input('x', 'f32', ['B']);
    g.output('y', g.op('softmax', [g.op('negate', [x])], { axis: 0 }));
    const seen: unknown[] = [];
    interpretFunction(
      g.finish(),
      { inputs: { x: stored('f32', [1], [5]) } },
      { onNode: (node, operands, results) => seen.push([node.op, numbersOf(operands[0]!), numbersOf(results[0]!)]) },
    );
    expect(seen).toEqual([
      ['negate', [5], [-5]],
      ['softmax', [-5], [1]],
    ]);
  });

  test('an abort stops before the next node, inside of composites too', () => {
    const g = new GraphBuilder('stopped');
    const x = g.input('x', 'f32', ['B']);
    g.output('y', g.op('silu', [g.op('negate', [x])]));
    const abort = new AbortController();
    const run = () =>
      interpretFunction(
        g.finish(),
        { inputs: { x: stored('f32', [1], [5]) } },
        { signal: abort.signal, onNode: () => abort.abort(new Error('enough')) },
      );
    expect(run).toThrow('enough');
  });

  test('an error of an op names node and location, through composites', () => {
    const g = new GraphBuilder('scores');
    const x = g.input('x', 'f32', ['B', 3]);
    const targets = g.input('targets', 'i32', ['B']);
    g.output(
      'y',
      g.scope('lm_head', () => g.op('log_softmax_gather', [x, targets], {}, { name: 'nll' })),
    );
    const inputs = { x: stored('f32', [2, 3], randomNumbers(6, 1)), targets: stored('i32', [2], [0, 3]) };
    const error = errorOf(() => interpretFunction(g.finish(), { inputs }));
    expect(error.code).toBe('gather-index');
    expect(error.message).toContain('index 3 at position 1 is outside 0 to 2');
    expect(error.message).toContain('in %nll = log_softmax_gather at lm_head');
    expect(error.where).toMatchObject({
      node: 'nll',
      op: 'log_softmax_gather',
      location: 'lm_head',
      index: 3,
      bound: 3,
    });
  });

  test.each([
    ['input-missing', { x: stored('f32', [1, 2, 2], [1, 2, 3, 4]) }, stored('f32', [1, 4, 2], Array(8).fill(0))],
    [
      'input-unknown',
      { x: stored('f32', [1, 1, 2], [1, 2]), start: stored('i32', [1], [0]), y: stored('i32', [1], [0]) },
      stored('f32', [1, 4, 2], Array(8).fill(0)),
    ],
    [
      'value-type',
      { x: stored('i32', [1, 1, 2], [1, 2]), start: stored('i32', [1], [0]) },
      stored('f32', [1, 4, 2], Array(8).fill(0)),
    ],
    [
      'value-type',
      { x: stored('f32', [1, 2, 2], [1, 2]), start: stored('i32', [1], [0]) },
      stored('f32', [1, 4, 2], Array(8).fill(0)),
    ],
    [
      'shape-mismatch',
      { x: stored('f32', [1, 1, 2], [1, 2]), start: stored('i32', [1], [0]) },
      stored('f32', [2, 2, 2], Array(8).fill(0)),
    ],
    [
      'shape-mismatch',
      { x: stored('f32', [1, 2], [1, 2]), start: stored('i32', [1], [0]) },
      stored('f32', [1, 4, 2], Array(8).fill(0)),
    ],
  ])('%s', (code, inputs, state) => {
    expect(errorOf(() => interpretFunction(cachedSum(), { inputs: { ...inputs }, states: () => state })).code).toBe(
      code,
    );
  });

  test('a parameter of another shape is refused', () => {
    const g = new GraphBuilder('weights');
    g.output('w', g.parameter({ name: 'w', type: { dtype: 'f32', shape: [2, 3] } }));
    const run = () =>
      interpretFunction(g.finish(), { inputs: {}, parameters: () => stored('f32', [3, 2], [1, 2, 3, 4, 5, 6]) });
    expect(errorOf(run).message).toBe(
      "parameter 'w' of function 'weights' is f32[3,2] with 6 elements, expected f32[2,3]",
    );
  });
});

describe('gather and dynamic_update_slice at their edges', () => {
  const table = stored('f32', [3, 2], [1, 2, 3, 4, 5, 6]);

  test.each([-1, 3, 2 ** 31 - 1, -(2 ** 31)])('index %d is an error', (index) => {
    const error = errorOf(() => runOne('gather', [table, stored('i32', [2], [0, index])], { axis: 0 }));
    expect(error.code).toBe('gather-index');
    expect(error.where).toMatchObject({ index, bound: 3, position: 1 });
  });

  test('gathering from an empty axis fails only when there is an index', () => {
    const empty = stored('f32', [0, 2], []);
    expect(runOne('gather', [empty, stored('i32', [0], [])], { axis: 0 }).type.shape).toEqual([0, 2]);
    expect(errorOf(() => runOne('gather', [empty, stored('i32', [1], [0])], { axis: 0 })).code).toBe('gather-index');
  });

  test.each([
    [0, [7, 8, 9, 4]],
    [2, [1, 2, 7, 8]],
    [3, [1, 2, 3, 7]],
    [-2, [9, 2, 3, 4]],
    [4, [1, 2, 3, 4]],
    [-3, [1, 2, 3, 4]],
    [2 ** 31 - 1, [1, 2, 3, 4]],
    [-(2 ** 31), [1, 2, 3, 4]],
  ])('an update that starts at %d', (start, expected) => {
    const operand = stored('i32', [1, 4], [1, 2, 3, 4]);
    const y = runOne('dynamic_update_slice', [operand, stored('i32', [1, 3], [7, 8, 9]), stored('i32', [1], [start])], {
      axis: 1,
    });
    expect(numbersOf(y)).toEqual(expected);
  });
});

describe('expandComposite', () => {
  function attentionNode() {
    const g = new GraphBuilder('f');
    const q = g.input('q', 'bf16', ['B', 'T', 4, 8]);
    const k = g.input('k', 'f8e4m3fn', ['B', 'S', 2, 8]);
    const position = g.input('position', 'i32', ['B']);
    const scale = g.input('s', 'f8e8m0fnu', ['B', 'S', 2, 1]);
    g.scope('layers.0', () => g.op('attention', [q, k, k, position, undefined, scale], { scale: 0.5, probs: 'bf16' }));
    return g.nodes[0]!;
  }

  test('inputs are the operands that are there, in order; outputs are the results', () => {
    const body = expandComposite(attentionNode(), coreOps);
    expect(body.inputs.map((value) => value.name)).toEqual(['q', 'k', 'v', 'position', 'v_scale']);
    expect(body.outputs.map(({ name, value }) => [name, value.type])).toEqual([
      ['y', { dtype: 'f32', shape: ['B', 'T', 4, 8] }],
    ]);
    expect(new Set(body.nodes.map((node) => node.location))).toEqual(new Set(['layers.0']));
    expect(body.nodes.some((node) => node.op === 'attention')).toBe(false);
  });

  test('nested bodies end at primitives', () => {
    const count = (fn: GraphFunction): number =>
      fn.nodes.reduce(
        (sum, node) =>
          sum +
          (coreOps.get(node.domain, node.op, node.version).isComposite ? count(expandComposite(node, coreOps)) : 1),
        0,
      );
    expect(count(expandComposite(attentionNode(), coreOps))).toBeGreaterThan(20);
  });

  test('a primitive has no body', () => {
    const g = new GraphBuilder('f');
    g.op('negate', [g.input('x', 'f32', [])]);
    expect(errorOf(() => expandComposite(g.nodes[0]!, coreOps)).code).toBe('op-has-no-meaning');
  });

  test('a body that breaks the type rule is found', () => {
    const liar = defineOp('liar', {
      version: 1,
      summary: 'Promises a copy and gives a scalar.',
      operands: { x: { dtypes: ['f32'] } },
      attributes: {},
      results: ['y'],
      infer: ({ x }) => [x],
      body: (g) => [g.constant(0)],
    });
    const registry = new OpRegistry([...coreOps.list(), liar]);
    const g = new GraphBuilder('f');
    g.apply(liar, [g.input('x', 'f32', [3])]);
    expect(errorOf(() => expandComposite(g.nodes[0]!, registry)).code).toBe('op-body-type');
  });

  test('the body gives the bits of the composite', () => {
    const x = stored('f32', [2, 5], randomNumbers(10, 3));
    const g = new GraphBuilder('f');
    g.op('softmax', [g.input('x', 'f32', ['B', 5])], { axis: 1 });
    const body = interpretFunction(expandComposite(g.nodes[0]!, coreOps), { inputs: { x } });
    expect(bitsOf(body.outputs.y!)).toBe(bitsOf(runOne('softmax', [x], { axis: 1 })));
  });
});
