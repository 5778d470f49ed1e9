/**
 * @file `npm run train:recipes`: trains one model with several recipes, on the same data in the same order, and writes a table and a
 * plot of docs/training.md.
 *
 *   npm run train:recipes                                     the small model from scratch, on a real text (examples/train/text.json)
 *   npm run train:recipes -- --task finetune                  SmolLM2-135M-Instruct (examples/train/finetune.json)
 *   npm run train:recipes -- --steps 60 --only bf16,fp8-block  prints the table, writes nothing
 *   npm run train:recipes -- --jobs 2                          two at a time, one thread each
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pullModel } from '@quaver/sdk/node';
import { linePlot } from './bench/plot.mjs';
import { pinnedNode, root, run } from './process.mjs';

const tasks = {
  text: {
    config: 'examples/train/text.json',
    recipes: ['bf16', 'f32', 'fp8-block', 'fp8-block-f32', 'fp8-tensor', 'fp8-delayed'],
    flags: async () => [],
  },
  finetune: {
    config: 'examples/train/finetune.json',
    recipes: ['bf16', 'fp8-block'],
    flags: async () => ['--model', (await pullModel('smollm2-135m-instruct')).path],
  },
};

const { values } = parseArgs({
  options: {
    task: { type: 'string', default: 'text' },
    steps: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
});
const task = tasks[values.task];
if (!task) throw new RangeError(`--task is ${values.task}, expected ${Object.keys(tasks).join(', ')}`);
const config = path.join(root, task.config);
const folder = path.join(root, 'build/train-recipes', values.task);
const page = path.join(root, 'docs/training.md');
const picture = path.join(root, `docs/training/${values.task}.svg`);
const steps = values.steps === undefined ? [] : ['--steps', values.steps];
const chosen = values.only?.split(',') ?? task.recipes;
const jobs = Number(values.jobs);

async function train(recipe) {
  const out = path.join(folder, recipe);
  rmSync(out, { recursive: true, force: true });
  const threads = Math.max(1, Math.floor(os.availableParallelism() / jobs));
  const args = ['train', '--config', config, '--recipe', recipe, ...steps, ...(await task.flags())];
  const command = [
    path.join(root, 'packages/cli/bin/quaver.js'),
    ...args,
    '--threads',
    `${threads}`,
    '--out',
    out,
    '--json',
  ];
  const start = performance.now();
  const { code, stdout, output } = await run(pinnedNode(), command, { stdio: 'pipe' });
  if (code !== 0) throw new Error(`training with ${recipe} failed:\n${output}`);
  const result = JSON.parse(stdout);
  const records = readFileSync(path.join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  console.error(`${recipe}: val_loss ${result.val_loss}, ${((performance.now() - start) / 60000).toFixed(1)} min`);
  const points = records
    .filter(({ val_loss: loss }) => loss !== undefined)
    .map(({ step, val_loss: loss }) => [step, loss]);
  return { recipe, ...result, points: [[0, result.val_loss_before], ...points] };
}

/** Several at a time, in order. */
async function trainAll() {
  const waiting = [...chosen];
  const results = new Map();
  const work = async () => {
    for (let recipe = waiting.shift(); recipe !== undefined; recipe = waiting.shift())
      results.set(recipe, await train(recipe));
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return chosen.map((recipe) => results.get(recipe));
}

function table(results) {
  const base = results.find(({ recipe }) => recipe === 'bf16');
  const difference = ({ val_loss: loss }) => (base ? `${(100 * (loss / base.val_loss - 1)).toFixed(2)} %` : '–');
  return [
    '| recipe | validation loss | to bf16 | training loss of the last step | skipped steps |',
    '|---|---:|---:|---:|---:|',
    ...results.map(
      (item) =>
        `| \`${item.recipe}\` | ${item.val_loss.toFixed(4)} | ${item === base ? '–' : difference(item)} | ${item.loss.toFixed(4)} | ${item.skipped_steps} |`,
    ),
  ];
}

function section(results) {
  const { steps: done, tokens } = results[0];
  const cpu = os.cpus()[0].model.trim();
  const date = new Date().toISOString().slice(0, 10);
  return [
    `Made by \`npm run train:recipes${values.task === 'text' ? '' : ` -- --task ${values.task}`}\` on ${date}: ${done} steps (${tokens.toLocaleString('en-US')} tokens), the same data in the same`,
    `order; ${cpu}, ${os.availableParallelism()} cores. Losses are nats per token; before the first step the validation loss was ${results[0].val_loss_before.toFixed(4)}.`,
    '',
    ...table(results),
    '',
    `![Validation loss over the steps, one curve for each recipe](training/${values.task}.svg)`,
  ].join('\n');
}

const results = await trainAll();
console.log(table(results).join('\n'));
if (values.only === undefined) {
  mkdirSync(path.dirname(picture), { recursive: true });
  const series = results.map(({ recipe, points }) => ({ label: recipe, points }));
  writeFileSync(picture, linePlot({ title: 'Validation loss', xTitle: 'step', yTitle: 'nats per token', series }));
  const text = readFileSync(page, 'utf8');
  const [before, after] = [`<!-- ${values.task} -->\n`, `\n<!-- /${values.task} -->`];
  const from = text.indexOf(before) + before.length;
  writeFileSync(page, text.slice(0, from) + section(results) + text.slice(text.indexOf(after)));
  console.error(`wrote ${path.relative(root, page)} and ${path.relative(root, picture)}`);
}
