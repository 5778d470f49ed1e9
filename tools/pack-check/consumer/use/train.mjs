import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer } from '@quaver/generate';
import { GraphBuilder, interpretFunction } from '@quaver/ir';
import { readModuleFile } from '@quaver/ir/node';
import { modelPath } from '@quaver/model-arithmetic/node';
import { schedule, sgd } from '@quaver/train';
import {
  CheckpointStore,
  lockRunFolder,
  openDataset,
  openRunWriter,
  openTrainingCheckpoint,
  readRun,
} from '@quaver/train/node';

const f32 = (...data) => ({ type: { dtype: 'f32', shape: [data.length] }, data: Float32Array.from(data) });

/** One step of an optimizer as a graph, interpreted. */
function step() {
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
}

/** What the mask of a row of training counts; the thread that tokenizes is a file of the package. */
async function predicted(folder) {
  const model = await readModuleFile(modelPath());
  const tokenizer = await Tokenizer.fromModule(model);
  await model.close();
  const files = join(folder, 'data.jsonl');
  await writeFile(files, '{"prompt": "2+3=", "completion": "5"}\n');
  const dataset = await openDataset({ files, tokenizer, rowTokens: 16, batchRows: 1, endToken: null });
  for await (const { batch } of dataset.batches({ epochs: 1 })) {
    await dataset.close();
    return tokenizer.decode([...batch.targets.filter((_, at) => batch.mask[at] === 1)]);
  }
}

/** A record and a checkpoint of a run, written and read again. */
async function record(folder) {
  const lock = await lockRunFolder(join(folder, 'run'));
  const writer = await openRunWriter(lock);
  const numbers = { loss: 2, lr: 0.5, grad_norm: Number.NaN, tokens: 3, tokens_per_s: 4, seconds: { data: 1 } };
  await writer.step({ step: 1, ...numbers });
  await writer.close();
  const store = await CheckpointStore.open(lock, { module: 'mine' });
  const weight = { name: 'w', dtype: 'f32', shape: [2], read: () => new Uint8Array(Float32Array.of(7, 8).buffer) };
  await store.save({ step: 1, parameters: [weight], state: [], json: { tokens: 3 } });
  await lock.release();
  const { steps } = await readRun(lock.folder);
  const checkpoint = await openTrainingCheckpoint(lock.folder, 1);
  const bytes = await checkpoint.parameters.get('w').read();
  await checkpoint.close();
  return [steps[0].loss, steps[0].grad_norm, checkpoint.json.tokens, ...new Float32Array(bytes.slice().buffer)];
}

export default async () => {
  const folder = await mkdtemp(join(tmpdir(), 'quaver-train-'));
  try {
    return { moved: step(), predicted: await predicted(folder), record: await record(folder) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** 1 - 0.25 · 4 and 2 + 0.25 · 4; of the example its completion. */
export const expected = { moved: [0, 3], predicted: '5', record: [2, Number.NaN, 3, 7, 8] };
