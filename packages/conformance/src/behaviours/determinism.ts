import { Session } from '@quaver/executor';
import { parseModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour, notPromised } from './behaviour.ts';
import { expectSameBits } from './expectations.ts';
import { randomTensor } from './random.ts';

/** A product, a norm and a softmax: everything that adds. */
const text = `quaver 1 opset core@1
module "adds"

func @main(%x: f32[37,300], %w: f32[90,300], %g: f32[90]) -> (y: f32[37,90]) {
  %h = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[], promote=128} : f32[37,90]
  %n = rms_norm(%h, %g) {eps=1e-5} : f32[37,90]
  %y = softmax(%n) {axis=1} : f32[37,90]
  return %y
}
`;

const repetitions = 5;

export const determinismCase: ConformanceCase = behaviour(
  'determinism',
  async ({ plugin, options, executor, signal }) => {
    if (!executor.capabilities.deterministic) return notPromised('deterministic');
    await using other = await plugin.open(options);
    await using session = await Session.open(parseModule(text), executor, { signal });
    await using second = await Session.open(parseModule(text), other, { signal });
    const inputs = {
      x: randomTensor(1, 'f32', [37, 300]),
      w: randomTensor(2, 'f32', [90, 300]),
      g: randomTensor(3, 'f32', [90]),
    };
    const first = (await session.run('main', inputs, { signal })).y!;
    for (let i = 0; i < repetitions; i++) {
      expectSameBits(`run ${i + 2}`, (await session.run('main', inputs, { signal })).y, first);
    }
    expectSameBits('the same on an executor opened again', (await second.run('main', inputs, { signal })).y, first);
  },
);
