import { GraphBuilder } from '@quaver/ir';
import { describe, expect, test } from 'vitest';

describe('GraphBuilder', () => {
  test('names are unique whatever is asked for', () => {
    const g = new GraphBuilder('f');
    const names = ['x', 'x', 'x_1', 'x', 'x_1', 'a-b', 'a b', ''].map((name) => g.input(name, 'f32', []).name);
    expect(names).toEqual(['x', 'x_1', 'x_1_1', 'x_2', 'x_1_2', 'a_b', 'a_b_1', '_']);
  });

  test('a parameter and a state of one name are two values, each made once', () => {
    const g = new GraphBuilder('f');
    const type = { dtype: 'f32', shape: [2] } as const;
    const parameter = g.parameter({ name: 'w', type });
    const state = g.state({ name: 'w', type });
    expect(g.parameter({ name: 'w', type })).toBe(parameter);
    expect(g.state({ name: 'w', type })).toBe(state);
    expect([parameter.name, state.name, parameter.ref, state.ref]).toEqual(['w', 'w_1', 'w', 'w']);
    expect([g.parameters.length, g.states.length]).toEqual([1, 1]);
  });

  test('a hundred thousand nodes of one op are named in linear time', () => {
    const g = new GraphBuilder('f');
    let x = g.input('x', 'f32', []);
    for (let i = 0; i < 100_000; i++) x = g.op('negate', [x]);
    expect(x.name).toBe('negate_99999');
  });

  test('a type error names the location', () => {
    const g = new GraphBuilder('f');
    const x = g.input('x', 'f32', ['B']);
    const build = () => g.scope('layers.3', () => g.scope('mlp', () => g.op('add', [x, g.constant(1)])));
    expect(build).toThrow(expect.objectContaining({ code: 'op-type', where: { op: 'add', location: 'layers.3.mlp' } }));
    expect(g.op('negate', [x]) && g.nodes.at(-1)!.location).toBe('');
  });

  test('absent operands at the end are cut, in the middle they stay', () => {
    const g = new GraphBuilder('f');
    const q = g.input('q', 'f8e4m3fn', [2, 4]);
    const scale = g.input('s', 'f32', [1, 1]);
    const contract = { lhs_contract: [1], rhs_contract: [1] };
    g.op('scaled_dot', [q, q, undefined, undefined], contract);
    g.op('scaled_dot', [q, q, undefined, scale], { ...contract, rhs_block: [0, 0] });
    expect(g.nodes.map((node) => node.operands)).toEqual([
      [q, q],
      [q, q, undefined, scale],
    ]);
  });
});
