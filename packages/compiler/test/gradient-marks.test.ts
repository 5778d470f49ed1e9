import { GraphBuilder, multiplyDims, type Value } from '@quaver/ir';
import { expect, it } from 'vitest';
import { compile, differentiate, layerLocation, readGradientProduct } from '../src/index.ts';
import { f32Parameter, linearGradientModule } from './fixtures/gradient-modules.ts';
import { randomNumbers } from './fixtures/small-llama.ts';

const sumOf = (g: GraphBuilder, x: Value) =>
  g.op('reduce', [g.op('reshape', [x], { shape: [multiplyDims(...x.type.shape)] })], { kind: 'sum', axes: [0] });

/** The nodes of Σ build(x, W) with its gradients. */
function marked(build: (g: GraphBuilder, x: Value, w: Value) => Value) {
  const g = new GraphBuilder('f');
  const x = g.input('x', 'f32', [3, 4]);
  const w = g.parameter({ name: 'w', type: { dtype: 'f32', shape: [4, 4] } });
  g.output('loss', sumOf(g, build(g, x, w)));
  return differentiate(g.finish(), { loss: 'loss', wrt: ['x', 'w'] }).nodes;
}

const linear = (g: GraphBuilder, x: Value, w: Value) =>
  g.scope('layer', () => g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));

it('nodes of gradients say so, at the location of the node that they differentiate', () => {
  const nodes = marked((g, x, w) => {
    const h = linear(g, x, w);
    return g.scope('act', () => g.op('exp', [h]));
  });
  expect(nodes.map(({ op, location, annotations }) => [op, location, annotations.gradient_of])).toEqual([
    ['dot_general', 'layer', undefined],
    ['exp', 'act', undefined],
    ['reshape', '', undefined],
    ['reduce', '', undefined],
    ['constant', '', 'loss'],
    ['broadcast_in_dim', '', 'reduce'],
    ['reshape', '', 'reshape'],
    ['multiply', 'act.gradient', 'exp'],
    ['dot_general', 'layer.gradient', 'dot_general'],
    ['dot_general', 'layer.gradient', 'dot_general'],
  ]);
  expect(nodes.map(layerLocation)).toEqual(['layer', 'act', '', '', '', '', '', 'act', 'layer', 'layer']);
  expect(nodes.map(readGradientProduct).filter(Boolean)).toEqual(['dgrad', 'wgrad']);
});

it('only products with weights are those of a linear layer, also where others have the same location', () => {
  const nodes = marked((g, x, w) =>
    g.scope('layer', () => {
      const h = g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] });
      return g.op('dot_general', [h, x], { lhs_contract: [1], rhs_contract: [1] });
    }),
  );
  const products = nodes.filter(({ op, annotations }) => op === 'dot_general' && annotations.gradient_of);
  expect(products.map(readGradientProduct)).toEqual([undefined, undefined, 'dgrad', 'wgrad']);
});

it('which operand is the weight does not depend on the side', () => {
  const nodes = marked((g, x, w) => g.op('dot_general', [w, x], { lhs_contract: [1], rhs_contract: [1] }));
  const shapes = nodes.flatMap((node) => {
    const product = readGradientProduct(node);
    return product ? [[product, node.results[0]!.type.shape]] : [];
  });
  expect(shapes).toEqual([
    ['wgrad', [4, 4]],
    ['dgrad', [3, 4]],
  ]);
});

it('products whose layer is not lowered are listed for the reason of the layer', async () => {
  const weight = f32Parameter('w', [2, 8, 16], randomNumbers(256, 9));
  const g = new GraphBuilder('loss');
  const x = g.input('x', 'f32', [2, 4, 16]);
  const axes = { lhs_contract: [2], rhs_contract: [2], lhs_batch: [0], rhs_batch: [0] };
  const y = g.scope('experts', () => g.op('dot_general', [x, g.parameter(weight)], axes));
  g.output('loss', sumOf(g, y));
  const module = {
    ...linearGradientModule(f32Parameter('v', [4, 4], randomNumbers(16, 1))),
    parameters: [weight],
    functions: [differentiate(g.finish(), { loss: 'loss', wrt: ['x', 'w'] })],
  };
  const { report } = await compile(module, { recipe: 'fp8-block' });
  expect(report.not_lowered.map(({ location, op, code }) => [location, op, code])).toEqual([
    ['experts', 'dot_general', 'batched-dot'],
    ['experts', 'dot_general (dgrad)', 'batched-dot'],
    ['experts', 'dot_general (wgrad)', 'batched-dot'],
  ]);
  const { module: bf16 } = await compile(module, { recipe: 'bf16', strict: true });
  const dots = bf16.functions[0]!.nodes.filter(({ op }) => op === 'dot_general');
  expect(dots.map(({ operands }) => operands[0]!.type.dtype)).toEqual(['bf16', 'bf16', 'bf16']);
});
