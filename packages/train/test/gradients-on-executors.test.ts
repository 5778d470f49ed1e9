/** @file A gradient is an ordinary function: it goes through files and text, and runs on executors, with the same bits. */
import { differentiate, gradientOutput } from '@quaver/compiler';
import { referencePlugin, Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { openCheckpoint } from '@quaver/formats/node';
import { type HostTensor, type Module, parseModule, printModule, readModuleBytes, writeModuleBytes } from '@quaver/ir';
import { importModel } from '@quaver/models';
import { expect, test } from 'vitest';
import { lossFunction } from '../src/index.ts';
import { unpacked } from './support/tiny-model.ts';

const ids = (seed: number): HostTensor => ({
  type: { dtype: 'i32', shape: [2, 9] },
  data: Int32Array.from({ length: 18 }, (_, i) => (seed * (i + 3) * 7919) % 97),
});
const weighting: HostTensor = { type: { dtype: 'f32', shape: [2, 9] }, data: new Float32Array(18).fill(1) };

/** A module whose only function is the loss of a tiny Llama 3 with the gradients of all its weights. */
async function gradientModule(): Promise<{ module: Module; weights: string[] }> {
  const checkpoint = await openCheckpoint(new URL('../../models/test/data/tiny/llama3/', import.meta.url).pathname);
  const { module } = await importModel(checkpoint, checkpoint.assets);
  const weights = module.parameters.filter(({ trainable }) => trainable).map(({ name }) => name);
  const fn = differentiate(lossFunction(module), { loss: 'loss', wrt: weights });
  const bytes = await writeModuleBytes({ ...module, states: [], functions: [fn] });
  await checkpoint.close();
  return { module: readModuleBytes(bytes), weights };
}

test('the reference and the CPU give the same gradients, bit for bit, also from a file', async () => {
  const { module, weights } = await gradientModule();
  const inputs = { tokens: ids(5), targets: ids(11), weights: weighting, ...unpacked(2, 9) };
  await using reference = await referencePlugin().open();
  await using cpu = await cpuPlugin.open({ threads: 2 });
  await using expected = await Session.open(module, reference);
  await using found = await Session.open(module, cpu);
  const [a, b] = [await expected.run('loss', inputs), await found.run('loss', inputs)];
  for (const name of ['loss', ...weights.map(gradientOutput)]) {
    const bits = ({ data }: HostTensor) => new Uint32Array(data.buffer, data.byteOffset, data.length);
    expect(bits(b[name]!), name).toEqual(bits(a[name]!));
  }
});

test('its text form reads back as the same text', async () => {
  const { module } = await gradientModule();
  const text = printModule(module);
  expect(printModule(parseModule(text))).toBe(text);
});
