/** @file Trainings that are killed and resumed, beside one that nothing stops. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { trainModel } from '@quaver/sdk/node';
import { parseTrainConfig } from '@quaver/train';
import { expect } from 'vitest';
import { readConfigFile } from '../src/train-config.ts';
import { type Finished, quaverJson, start } from './run-quaver.ts';
import { checkpointNames, fileDigests, readRecords, timelessMetrics } from './train-runs.ts';

export interface Trained {
  readonly parameters_sha256: string;
  readonly val_loss: number | null;
  readonly steps: number;
}

/** What a command is waited for before it is killed, some milliseconds later. */
export type Moment = { readonly step: number } | 'while a checkpoint is written';

/** What the command makes of the configuration when nothing stops it, made in this process. */
export async function straight(config: string, run: string): Promise<Trained> {
  return trainModel({ config: parseTrainConfig(await readConfigFile(config)), folder: run, threads: 1 });
}

/** Everything but what a clock measured is equal: result, records, and the bytes of checkpoints and model. */
export function expectSame(run: string, found: Trained, reference: string, expected: Trained): void {
  const { parameters_sha256, val_loss, steps } = expected;
  expect(found).toMatchObject({ parameters_sha256, val_loss, steps });
  expect(timelessMetrics(run)).toEqual(timelessMetrics(reference));
  expect(fileDigests(run)).toEqual(fileDigests(reference));
}

/**
 * Trains in a child process that is killed at each of the moments and resumed, and compares the end with a run that was not.
 * @returns the steps that were recorded when each process was killed
 */
export async function expectKilledRunSame(config: string, moments: readonly Moment[]): Promise<number[]> {
  const [run, reference] = ['killed', 'straight'].map((name) => path.join(path.dirname(config), '..', name)) as [
    string,
    string,
  ];
  const expected = await straight(config, reference);
  const steps: number[] = [];
  for (const [index, moment] of moments.entries()) {
    const begin = index === 0 ? ['--config', config, '--out', run] : ['--resume', run];
    await killAt(['train', ...begin, '--threads', '1', '-q'], run, moment);
    steps.push(readRecords(run).length);
  }
  const found = await quaverJson<Trained>(['train', '--resume', run, '--threads', '1']);
  expectSame(run, found, reference, expected);
  return steps;
}

async function killAt(args: readonly string[], run: string, moment: Moment): Promise<void> {
  const partial = () => checkpointNames(run).filter((name) => name.endsWith('.partial'));
  const starts = () => (existsSync(run) ? readdirSync(run).filter((name) => name.startsWith('events.out')).length : 0);
  const [leftBefore, startsBefore] = [new Set(partial()), starts()];
  const reached = () =>
    typeof moment === 'object'
      ? starts() > startsBefore && readRecords(run).length >= moment.step
      : partial().some((name) => !leftBefore.has(name));
  const { child, finished } = start(args);
  let ended: Finished | undefined;
  finished.then((result) => (ended = result));
  while (!ended && !reached()) await sleep(1);
  if (typeof moment === 'object') await sleep(30 * Math.random());
  child.kill('SIGKILL');
  const { signal, code, stdout, stderr } = await finished;
  // One that came to its end before is resumed all the same.
  if (signal !== 'SIGKILL' && code !== 0) throw new Error(`ended with ${code}: ${stdout}${stderr}`);
}
