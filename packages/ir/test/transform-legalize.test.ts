import { describe, expect, it } from 'vitest';
import {
  coreOps,
  defineOp,
  GraphBuilder,
  interpretFunction,
  legalizeFunction,
  type OpDefinition,
  OpRegistry,
  type Supports,
} from '../src/index.ts';

function attentionBlock() {
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', [1, 3, 2, 4]);
  const position = g.input('position', 'i32', [1]);
  const y = g.scope('layer.0', () => g.op('attention', [x, x, x, position], { scale: 0.5, probs: 'f32' }));
  g.output('y', g.op('swiglu', [y, x]));
  return g.finish();
}

const inputs = {
  x: { type: { dtype: 'f32', shape: [1, 3, 2, 4] }, data: Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)) },
  position: { type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(0) },
} as const;

const primitivesOnly: Supports = ({ domain, op, version }) =>
  coreOps.get(domain, op, version).isComposite
    ? { ok: false, code: 'no-kernel', reason: 'no kernel' }
    : { ok: true, native: true };

describe('legalizeFunction', () => {
  it('returns the function itself when everything is supported', () => {
    const fn = attentionBlock();
    expect(legalizeFunction(fn, () => ({ ok: true, native: false }), coreOps)).toBe(fn);
  });

  it('expands nested composites down to primitives, with the same bits and the same location', () => {
    const fn = attentionBlock();
    const legal = legalizeFunction(fn, primitivesOnly, coreOps);
    expect(legal.nodes.filter((node) => coreOps.latest('core', node.op).isComposite)).toEqual([]);
    expect(new Set(legal.nodes.map((node) => node.location))).toEqual(new Set(['layer.0', '']));
    const names = legal.nodes.flatMap((node) => node.results.map((value) => value.name));
    expect(new Set(names).size).toBe(names.length);
    expect(interpretFunction(legal, { inputs })).toEqual(interpretFunction(fn, { inputs }));
  });

  it('keeps a composite inside of an expanded one when it is claimed', () => {
    const supports: Supports = (node) =>
      node.op === 'attention' ? { ok: false, code: 'no-kernel', reason: 'no kernel' } : { ok: true, native: true };
    const ops = legalizeFunction(attentionBlock(), supports, coreOps).nodes.map((node) => node.op);
    expect(ops).toContain('softmax');
    expect(ops).toContain('swiglu');
    expect(ops).not.toContain('attention');
  });

  it('names node, types, reason and hint when a primitive is refused', () => {
    const supports: Supports = (node) =>
      node.op === 'exp'
        ? { ok: false, code: 'no-exp', reason: 'this chip has no exp', hint: 'Buy another.' }
        : primitivesOnly(node);
    expect(() => legalizeFunction(attentionBlock(), supports, coreOps)).toThrow(
      expect.objectContaining({
        code: 'node-unsupported',
        message: '@main: exp(f32[1,2,3,3]) at layer.0: this chip has no exp',
        hint: 'Buy another.',
        where: { function: 'main', op: 'exp', location: 'layer.0', reason: 'no-exp' },
      }),
    );
  });

  it('ends on a composite that contains itself', () => {
    const op: OpDefinition = defineOp('loop', {
      version: 1,
      summary: 'Itself.',
      operands: { x: { dtypes: ['f32'] } },
      attributes: {},
      results: ['y'],
      infer: ({ x }) => [x],
      body: (g, { x }) => [g.apply(op, [x])[0]!],
    });
    const registry = new OpRegistry([op]);
    const g = new GraphBuilder('main');
    g.output('y', g.apply(op, [g.input('x', 'f32', [2])])[0]!);
    const supports: Supports = () => ({ ok: false, code: 'none', reason: 'none' });
    expect(() => legalizeFunction(g.finish(), supports, registry)).toThrow(
      expect.objectContaining({ code: 'composite-too-deep' }),
    );
  });
});
