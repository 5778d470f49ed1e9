/**
 * @file `npm run train:recipes`: trains the small model of examples/train/tiny.json from scratch with several recipes, on the same
 * data in the same order, and writes the table and the plot of docs/training.md.
 *
 *   npm run train:recipes                                     all recipes, and writes the documentation
 *   npm run train:recipes -- --steps 20 --only bf16,fp8-block  prints the table, writes nothing
 *   npm run train:recipes -- --jobs 2                          two at a time, one thread each
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { linePlot } from './bench/plot.mjs';
import { pinnedNode, root, run } from './process.mjs';

const recipes = ['bf16', 'f32', 'fp8-block', 'fp8-block-f32', 'fp8-tensor', 'fp8-delayed'];
const config = path.join(root, 'examples/train/tiny.json');
const folder = path.join(root, 'build/train-recipes');
const page = path.join(root, 'docs/training.md');
const picture = path.join(root, 'docs/training/recipes.svg');

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '300' },
    rows: { type: 'string', default: '8' },
    jobs: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
});
const chosen = values.only?.split(',') ?? recipes;
const jobs = Number(values.jobs);

async function train(recipe) {
  const out = path.join(folder, recipe);
  rmSync(out, { recursive: true, force: true });
  const threads = Math.max(1, Math.floor(os.availableParallelism() / jobs));
  const args = ['train', '--config', config, '--recipe', recipe, '--steps', values.steps, '--rows', values.rows];
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
  const { steps, tokens } = results[0];
  const cpu = os.cpus()[0].model.trim();
  const date = new Date().toISOString().slice(0, 10);
  return [
    `Made by \`npm run train:recipes\` on ${date}: ${steps} steps of ${values.rows} rows of 256 tokens (${(tokens / 1e6).toFixed(2)} million tokens),`,
    `the same data in the same order; ${cpu}, ${os.availableParallelism()} cores. Losses are nats per token, over the validation problems.`,
    '',
    ...table(results),
    '',
    '![Validation loss over the steps, one curve for each recipe](training/recipes.svg)',
  ].join('\n');
}

const results = await trainAll();
console.log(table(results).join('\n'));
if (values.only === undefined) {
  mkdirSync(path.dirname(picture), { recursive: true });
  const series = results.map(({ recipe, points }) => ({ label: recipe, points }));
  writeFileSync(picture, linePlot({ title: 'Validation loss', xTitle: 'step', yTitle: 'nats per token', series }));
  const text = readFileSync(page, 'utf8');
  const [before, after] = ['<!-- recipes -->\n', '\n<!-- /recipes -->'];
  const from = text.indexOf(before) + before.length;
  writeFileSync(page, text.slice(0, from) + section(results) + text.slice(text.indexOf(after)));
  console.error(`wrote ${path.relative(root, page)} and ${path.relative(root, picture)}`);
}
