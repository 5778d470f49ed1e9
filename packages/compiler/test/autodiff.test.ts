import { differentiate, gradientOutput } from '@quaver/compiler';
import { coreOps, defineOp, GraphBuilder, type GraphFunction, interpretFunction, OpRegistry } from '@quaver/ir';
import { describe, expect, test } from 'vitest';

const f32 = (shape: readonly number[], data: readonly number[]) => ({
  type: { dtype: 'f32' as const, shape: [...shape] },
  data: Float32Array.from(data),
});

const weight = { name: 'w', type: { dtype: 'f32' as const, shape: [3] } };

/** loss = Σ build(x, w) over three elements. */
function lossOf(build: (g: GraphBuilder, x: ReturnType<GraphBuilder['input']>) => ReturnType<GraphBuilder['input']>) {
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', [3]);
  g.output('loss', g.op('reduce', [build(g, x)], { kind: 'sum', axes: [0] }));
  return g.finish();
}

const x = f32([3], [1, 2, 3]);
const w = f32([3], [5, 7, 11]);
const run = (fn: GraphFunction) => interpretFunction(fn, { inputs: { x }, parameters: () => w }).outputs;

describe('differentiate', () => {
  test('adds up every use of a value, and keeps the outputs of the function', () => {
    const fn = lossOf((g, v) => g.op('add', [g.op('multiply', [v, v]), g.op('multiply', [v, g.parameter(weight)])]));
    const outputs = run(differentiate(fn, { loss: 'loss', wrt: ['x', 'w'] }));
    expect(Object.keys(outputs)).toEqual(['loss', 'gradient.x', 'gradient.w']);
    expect([...outputs.loss!.data]).toEqual([1 + 4 + 9 + 5 + 14 + 33]);
    expect([...outputs[gradientOutput('x')]!.data]).toEqual([2 + 5, 4 + 7, 6 + 11]);
    expect([...outputs[gradientOutput('w')]!.data]).toEqual([1, 2, 3]);
  });

  test('stop_gradient makes a factor constant', () => {
    const fn = lossOf((g, v) => g.op('multiply', [v, g.op('stop_gradient', [v])]));
    expect([...run(differentiate(fn, { loss: 'loss', wrt: ['x'] }))['gradient.x']!.data]).toEqual([1, 2, 3]);
  });

  test('a value that the loss does not depend on has the gradient zero', () => {
    const g = new GraphBuilder('main');
    const v = g.input('x', 'f32', [3]);
    g.output('unused', g.op('add', [v, g.parameter(weight)]));
    g.output('loss', g.op('reduce', [v], { kind: 'sum', axes: [0] }));
    expect([...run(differentiate(g.finish(), { loss: 'loss', wrt: ['w'] }))['gradient.w']!.data]).toEqual([0, 0, 0]);
  });

  test('nodes say which part of the model they are the gradient of', () => {
    const fn = lossOf((g, v) => g.scope('model.layers.0', () => g.op('exp', [v])));
    const { nodes } = differentiate(fn, { loss: 'loss', wrt: ['x'] });
    expect(nodes.map(({ op, location }) => [op, location])).toContainEqual(['multiply', 'model.layers.0.gradient']);
  });

  test.each<[string, string, string[], string, RegExp]>([
    ['an output that does not exist', 'lost', ['x'], 'autodiff-loss', /'lost'.*does not exist/],
    ['an output of several numbers', 'y', ['x'], 'autodiff-loss', /f32\[3\].*one f32 number/],
    ['a name that is nothing', 'loss', ['z'], 'autodiff-unknown', /'z'.*neither/],
    ['an integer', 'loss', ['i'], 'autodiff-unknown', /i32/],
  ])('%s is refused', (_, loss, wrt, code, message) => {
    const g = new GraphBuilder('main');
    const y = g.op('exp', [g.input('x', 'f32', [3])]);
    g.input('i', 'i32', [3]);
    g.output('y', y);
    g.output('loss', g.op('reduce', [y], { kind: 'sum', axes: [0] }));
    const refused = () => differentiate(g.finish(), { loss, wrt });
    expect(refused).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  test('a policy of rematerialization that does not exist is refused', () => {
    const fn = lossOf((g, v) => g.op('exp', [v]));
    expect(() => differentiate(fn, { loss: 'loss', wrt: ['x'], remat: 'some' as 'none' })).toThrow(
      expect.objectContaining({ code: 'autodiff-remat', hint: expect.stringContaining('none, cheap, layers') }),
    );
  });

  test('an op without a rule is named with its place, unless no gradient goes through it', () => {
    const odd = defineOp('odd', {
      ...{ domain: 'mine', version: 1, summary: 'x.', attributes: {}, results: ['y'] },
      operands: { x: { dtypes: ['f32'] } },
      infer: ({ x: type }) => [type],
      evaluate: ({ x: value }) => [value],
    });
    const registry = new OpRegistry([...coreOps.list(), odd]);
    const fn = lossOf((g, v) => {
      const y = g.scope('model.head', () => g.apply(odd, [v])[0]!);
      return g.op('multiply', [y, g.parameter(weight)]);
    });
    const error = { code: 'autodiff-no-rule', message: 'odd has no gradient rule (at model.head)' };
    expect(() => differentiate(fn, { loss: 'loss', wrt: ['x'], registry })).toThrow(expect.objectContaining(error));
    const { outputs } = differentiate(fn, { loss: 'loss', wrt: ['w'], registry });
    expect(outputs.map(({ name }) => name)).toEqual(['loss', 'gradient.w']);
  });

  test('a rule that needs a static size is named with its place', () => {
    const g = new GraphBuilder('main');
    const operands = [
      g.input('x', 'f32', ['B', 'C']),
      g.input('update', 'f32', ['B', 2]),
      g.input('start', 'i32', ['B']),
    ];
    const written = g.scope('model.cache', () => g.op('dynamic_update_slice', operands, { axis: 1 }));
    const rows = g.op('reduce', [written], { kind: 'sum', axes: [1] });
    g.output('loss', g.op('reduce', [rows], { kind: 'sum', axes: [0] }));
    expect(() => differentiate(g.finish(), { loss: 'loss', wrt: ['update'] })).toThrow(
      expect.objectContaining({
        code: 'op-type',
        message: expect.stringMatching(/the updated axis is C.*\(at model\.cache\)/),
        where: { op: 'dynamic_update_slice', location: 'model.cache' },
      }),
    );
  });

  test('elements that tie share the gradient', () => {
    const tied = f32([3], [2, 2, 1]);
    const slope = (build: Parameters<typeof lossOf>[0]) => {
      const fn = differentiate(lossOf(build), { loss: 'loss', wrt: ['x'] });
      return [...interpretFunction(fn, { inputs: { x: tied } }).outputs['gradient.x']!.data];
    };
    const twos = (g: GraphBuilder) => g.constant(2, 'f32', [3]);
    expect(slope((g, v) => g.op('maximum', [v, twos(g)]))).toEqual([0.5, 0.5, 0]);
    expect(slope((g, v) => g.op('minimum', [v, twos(g)]))).toEqual([0.5, 0.5, 1]);
    const extreme = (kind: string) => slope((g, v) => g.op('reduce', [v], { kind, axes: [0], keep: true }));
    expect([extreme('max'), extreme('min')]).toEqual([
      [0.5, 0.5, 0],
      [0, 0, 1],
    ]);
    const edge = f32([3], [0, -3, 3]);
    const abs = differentiate(
      lossOf((g, v) => g.op('abs', [v])),
      { loss: 'loss', wrt: ['x'] },
    );
    expect([...interpretFunction(abs, { inputs: { x: edge } }).outputs['gradient.x']!.data]).toEqual([0, -1, 1]);
  });

  test('an op of another registry is computed again like any other', () => {
    const double = defineOp('double', {
      ...{ domain: 'mine', version: 1, summary: 'x + x.', attributes: {}, results: ['y'] },
      operands: { x: { dtypes: ['f32'] } },
      infer: ({ x: type }) => [type],
      evaluate: ({ x: { type, data } }) => [{ type, data: Float32Array.from(data, (value) => 2 * value) }],
      gradient: (g, { cotangents: [dy] }) => ({ x: g.op('add', [dy!, dy!]) }),
    });
    const registry = new OpRegistry([...coreOps.list(), double]);
    const fn = lossOf((g, v) => g.scope('layers.0', () => g.op('exp', [g.apply(double, [v])[0]!])));
    const again = differentiate(fn, { loss: 'loss', wrt: ['x'], registry, remat: 'layers' });
    expect(again.nodes.filter(({ op }) => op === 'double')).toHaveLength(2);
    const found = interpretFunction(again, { inputs: { x } }, { registry }).outputs['gradient.x']!.data;
    [1, 2, 3].forEach((value, i) => {
      expect(found[i]! / (2 * Math.exp(2 * value))).toBeCloseTo(1, 6);
    });
  });

  test('an operand that a rule does not know is named', () => {
    const g = new GraphBuilder('main');
    const q = g.input('x', 'f8e4m3fn', [3]);
    const y = g.op('dot_general', [q, g.input('z', 'f8e4m3fn', [3])], { lhs_contract: [0], rhs_contract: [0] });
    g.output('loss', y);
    expect(() => differentiate(g.finish(), { loss: 'loss', wrt: ['x'] })).toThrow(
      expect.objectContaining({ code: 'autodiff-no-rule', message: expect.stringMatching(/operand 'lhs'/) }),
    );
  });
});
