import { GraphBuilder, memoryData } from '@quaver/ir';
import { compileModel, isCompiled, openSession } from '@quaver/sdk';

/** One linear layer: 128 weights of 0.5 for each of 128 outputs. */
function linear() {
  const data = memoryData(new Uint8Array(new Float32Array(128 * 128).fill(0.5).buffer));
  const weight = { name: 'w', type: { dtype: 'f32', shape: [128, 128] }, data, trainable: true };
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', [1, 128]);
  g.output('y', g.op('dot_general', [x, g.parameter(weight)], { lhs_contract: [1], rhs_contract: [1] }));
  const parts = { symbols: [], states: [], metadata: {}, attachments: new Map() };
  return { name: 'linear', parameters: [weight], functions: [g.finish()], ...parts };
}

export default async () => {
  const module = linear();
  const { module: compiled } = await compileModel(module, { recipe: 'fp8-block' });
  const model = await openSession(compiled);
  const x = { type: { dtype: 'f32', shape: [1, 128] }, data: new Float32Array(128).fill(3) };
  const { y } = await model.session.run('main', { x });
  const ops = compiled.functions[0].nodes.map(({ op }) => op);
  await model[Symbol.asyncDispose]();
  return { before: isCompiled(module), after: isCompiled(compiled), fp8: ops.includes('scaled_dot'), y: y.data[127] };
};

/** 128 · 0.5 · 3: every number here is on the FP8 grid. */
export const expected = { before: false, after: true, fp8: true, y: 192 };
