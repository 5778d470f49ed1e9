import { GraphBuilder, interpretFunction } from '@quaver/ir';
import { schedule, sgd } from '@quaver/train';

const f32 = (...data) => ({ type: { dtype: 'f32', shape: [data.length] }, data: Float32Array.from(data) });

export default () => {
  const g = new GraphBuilder('step');
  const [parameter, gradient] = ['parameter', 'gradient'].map((name) => g.input(name, 'f32', [2]));
  const rate = g.input('rate', 'f32', [1]);
  g.output('moved', sgd().step(g, { parameter, gradient, rate, states: {}, scalars: {} }).parameter);
  const inputs = {
    parameter: f32(1, 2),
    gradient: f32(4, -4),
    rate: f32(schedule({ decay: 'linear', peak: 0.5, steps: 3 })(2)),
  };
  return [...interpretFunction(g.finish(), { inputs }).outputs.moved.data];
};

/** 1 - 0.25 · 4 and 2 + 0.25 · 4 */
export const expected = [0, 3];
