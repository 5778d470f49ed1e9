/** @file A process that saves checkpoints until it is killed; a line on stdout for every one that is safe. */
import { writeSync } from 'node:fs';
import { lockRunFolder } from '../../src/checkpoint/run-lock.ts';
import { CheckpointStore } from '../../src/checkpoint/store.ts';
import { parametersOf, stateOf } from './step-tensors.ts';

const lock = await lockRunFolder(process.argv[2]!);
const store = await CheckpointStore.open(lock, { module: 'loop', keepLast: 2, keepBest: 1 });
for (let step = ((await store.latest())?.step ?? 0) + 1; ; step++) {
  // The second save takes the place of the first.
  for (let time = 0; time < 2; time++) {
    const tensors = { parameters: parametersOf(step), state: stateOf(step) };
    await store.save({ step, metric: 1 / step, json: { step, seed: `${step}` }, ...tensors });
  }
  writeSync(1, `${step}\n`);
}
