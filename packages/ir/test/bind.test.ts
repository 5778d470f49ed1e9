import { bindSymbols, type Dim, GraphBuilder } from '@quaver/ir';
import { describe, expect, test } from 'vitest';

function functionOf(inputs: Record<string, readonly Dim[]>, states: Record<string, readonly Dim[]> = {}) {
  const g = new GraphBuilder('main');
  for (const [name, shape] of Object.entries(inputs)) g.input(name, 'f32', shape);
  for (const [name, shape] of Object.entries(states)) g.state({ name, type: { dtype: 'f32', shape } });
  return g.finish();
}

describe('bindSymbols', () => {
  test('takes symbols from inputs and states', () => {
    const fn = functionOf({ x: ['B', 'T', 4], y: ['B'] }, { cache: ['B', 'S'] });
    expect(bindSymbols(fn, { x: [2, 5, 4], y: [2] }, {}, { cache: [2, 9] })).toEqual({ B: 2, T: 5, S: 9 });
  });

  test('sizes may be 0', () => {
    expect(bindSymbols(functionOf({ x: ['B'] }), { x: [0] })).toEqual({ B: 0 });
  });

  test('expressions are checked against symbols that other inputs bind, in any order', () => {
    const fn = functionOf({ flat: ['B*T', 'ceildiv(T,4)'], x: ['B', 'T'] });
    expect(bindSymbols(fn, { flat: [10, 2], x: [2, 5] })).toEqual({ B: 2, T: 5 });
    expect(() => bindSymbols(fn, { flat: [11, 2], x: [2, 5] })).toThrow(
      "input 'flat' of function 'main' has shape [11,2]",
    );
    expect(() => bindSymbols(fn, { flat: [10, 1], x: [2, 5] })).toThrow(
      'dimension 1 is 1, expected ceildiv(T,4), which is 2 here',
    );
  });

  test.each([
    [
      'two sizes of one symbol',
      { x: [2, 5], y: [3] },
      "input 'y' of function 'main' has shape [3] but its type is f32[B]: dimension 0 is 3, expected B, which is 2 here",
    ],
    ['a fixed size', { x: [2, 6], y: [2] }, 'dimension 1 is 6, expected 5'],
    ['a rank', { x: [2], y: [2] }, 'the ranks differ'],
  ])('%s', (_, shapes, message) => {
    const fn = functionOf({ x: ['B', 5], y: ['B'] });
    expect(() => bindSymbols(fn, shapes)).toThrow(
      expect.objectContaining({ code: 'shape-mismatch', message: expect.stringContaining(message) }),
    );
  });

  test('a symbol that is known already must agree', () => {
    const fn = functionOf({ x: ['B'] });
    expect(bindSymbols(fn, { x: [2] }, { B: 2, S: 7 })).toEqual({ B: 2, S: 7 });
    expect(() => bindSymbols(fn, { x: [2] }, { B: 3 })).toThrow(expect.objectContaining({ code: 'shape-mismatch' }));
  });

  test('an input without a shape is missing', () => {
    expect(() => bindSymbols(functionOf({ x: ['B'] }), {})).toThrow(expect.objectContaining({ code: 'input-missing' }));
  });
});
