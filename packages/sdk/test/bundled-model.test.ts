import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { chatExample, generateProblem, isCorrect } from '@quaver/model-arithmetic';
import { modelPath } from '@quaver/model-arithmetic/node';
import { parseTrainConfig } from '@quaver/train';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ModuleFile, openSession, readModule, streamText, trainModel } from '../src/node.ts';
import { pathOf, temporaryFolder } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
let module: ModuleFile;
beforeAll(async () => {
  module = await readModule(modelPath());
});
afterAll(async () => {
  await module.close();
  rmSync(folder, { recursive: true, force: true });
});

it('answers easy problems that training did not show', async () => {
  await using model = await openSession(module, { recipe: 'fp8-block', functions: ['prefill', 'decode'] });
  const wrong: string[] = [];
  for (let index = 0; index < 50; index++) {
    const problem = generateProblem(2, index, 'held-out', { difficulties: [1] });
    let text = '';
    const messages = [{ role: 'user', content: problem.prompt }] as const;
    for await (const piece of streamText(model, { messages, maxNewTokens: 160 })) text += piece;
    if (!isCorrect(problem, text)) wrong.push(`${problem.prompt} ${text}`);
  }
  // The model that is there now answers 36 of them right; one that is trained longer must not answer fewer.
  expect(50 - wrong.length, wrong.join('\n\n')).toBeGreaterThanOrEqual(32);
});

it('gives the log-probabilities that it gave when it was made', async () => {
  const expected = JSON.parse(readFileSync(pathOf('data/arithmetic-logprobs.json'), 'utf8'));
  const options = { recipe: 'fp8-block', executor: 'reference', functions: ['logprobs'] };
  await using model = await openSession(module, options);
  const { prompt, response } = generateProblem(1, expected.problem, 'held-out');
  const tokenizer = await model.tokenizer();
  const text = tokenizer.applyChatTemplate([{ role: 'user', content: prompt }]) + response;
  const tokens = tokenizer.encode(text, { special: false });
  const row = (data: readonly number[]) => ({
    type: { dtype: 'i32', shape: [1, data.length] } as const,
    data: Int32Array.from(data),
  });
  const { logprobs } = await model.session.run('logprobs', {
    tokens: row(tokens.slice(0, -1)),
    targets: row(tokens.slice(1)),
  });
  const bits = new Uint32Array(Float32Array.from(logprobs!.data as Float32Array).buffer);
  expect([...bits.subarray(0, 20)]).toEqual(expected.bits);
});

it('is trained further from where it stands', async () => {
  const data = path.join(folder, 'data.jsonl');
  const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify(chatExample(generateProblem(3, i, 'train'))));
  writeFileSync(data, `${lines.join('\n')}\n`);
  const config = parseTrainConfig({
    ...{ model: modelPath(), recipe: 'fp8-block', steps: 1, schedule: { peak: 1e-4 } },
    data: { files: [data], align: 1 },
    batch: { rows: 2, tokens: 128 },
  });
  const { loss } = await trainModel({ config, folder: path.join(folder, 'run') });
  // Of the first step, so before anything is learned. A model that knows nothing has log 384 = 5.95.
  expect(loss).toBeLessThan(0.5);
});
