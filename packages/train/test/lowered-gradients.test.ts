/** @file Gradients in every recipe: lowered functions run on executors with the same bits, weights quantized in every step. */
import { builtInRecipes, compile, differentiate, gradientOutput, shiftAmaxHistories } from '@quaver/compiler';
import { type Executor, referencePlugin, Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { GraphBuilder, type HostTensor, type Module, parseModule, printModule, verifyModule } from '@quaver/ir';
import { expect, test } from 'vitest';
import { lossFunction, withMasters } from '../src/index.ts';
import { bitsOf, evenWeights, tinyModel, tokenIds, unpacked } from './support/tiny-model.ts';

// One whole block of 128 tokens and a ragged one.
const [rows, columns] = [3, 50];
const inputs = {
  tokens: tokenIds(5, rows, columns),
  targets: tokenIds(11, rows, columns),
  weights: evenWeights(rows, columns, 1 / 150),
  ...unpacked(rows, columns),
};

/** The loss of a tiny Llama 3 with the gradients of all its weights, and `update`, which ends a step. */
async function source(): Promise<{ module: Module; weights: string[] }> {
  const model = withMasters(await tinyModel('llama3'));
  const weights = model.parameters.filter(({ trainable }) => trainable).map(({ name }) => name);
  const fn = differentiate(lossFunction(model), { loss: 'loss', wrt: weights });
  const update = new GraphBuilder('update');
  update.output('step', update.constant(1));
  const metadata = { ...model.metadata, 'phase.loss': 'train', 'phase.update': 'train' };
  return { module: { ...model, states: [], functions: [fn, update.finish()], metadata }, weights };
}

/** Two steps; delayed scales of the second come from the first. */
async function steps(module: Module, executor: Executor): Promise<Record<string, HostTensor>> {
  await using session = await Session.open(module, executor);
  const state = session.createState();
  await session.run('loss', inputs, { state });
  await session.run('update', {}, { state });
  return session.run('loss', inputs, { state });
}

test.each([...builtInRecipes.keys()])(
  '%s: the reference and the CPU give the same gradients, bit for bit',
  async (recipe) => {
    const { module, weights } = await source();
    const compiled = await compile(module, { recipe, strict: true, disable: ['fold-constants'] });
    const lowered = shiftAmaxHistories(compiled.module, 'update');
    verifyModule(lowered);
    const text = printModule(lowered);
    expect(printModule(parseModule(text))).toBe(text);
    await using reference = await referencePlugin().open();
    await using cpu = await cpuPlugin.open({ threads: 2 });
    const [expected, found] = [await steps(lowered, reference), await steps(lowered, cpu)];
    for (const name of ['loss', ...weights.map(gradientOutput)]) {
      expect(bitsOf(found[name]!), name).toEqual(bitsOf(expected[name]!));
      // No scale left a gradient below the smallest number of its format.
      expect(
        expected[name]!.data.some((value) => value !== 0),
        name,
      ).toBe(true);
    }
  },
);
