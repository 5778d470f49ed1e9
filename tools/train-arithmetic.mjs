/**
 * @file `npm run train:arithmetic`: trains the model that comes with @quaver/model-arithmetic as examples/train/tiny.json says, and makes the
 * file of the package: an imported module with the weights as the recipe fp8-block stores them. Checks that it gives the bits of the
 * f32 masters compiled with that recipe, measures its answers, and writes model/ORIGIN.md and the values of the test.
 *
 *   npm run train:arithmetic                       trains (more than an hour on two cores)
 *   npm run train:arithmetic -- --from runs/tiny   takes a run that `quaver train` has finished
 *   npm run train:arithmetic -- --dry-run          writes nothing into the package
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { difficulties } from '@quaver/model-arithmetic';
import { modelPath } from '@quaver/model-arithmetic/node';
import { openSession, readModule } from '@quaver/sdk/node';
import { logprobBits, measureAccuracy } from './arithmetic-answers.mjs';
import { endLike, pinnedNode, root, run } from './process.mjs';

const recipe = 'fp8-block';
const mostBytes = 4e6;
const folder = path.join(root, 'build/train-arithmetic');
const testValues = path.join(root, 'packages/sdk/test/data/arithmetic-logprobs.json');

const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    problems: { type: 'string', default: '50' },
    'dry-run': { type: 'boolean', default: false },
  },
});

async function quaver(...args) {
  console.error(`$ quaver ${args.join(' ')}`);
  const result = await run(pinnedNode(), [path.join(root, 'packages/cli/bin/quaver.js'), ...args]);
  if (result.code !== 0) endLike(result);
}

/** The masters of the run, compiled and imported again: codes and scales, and BF16 for what the recipe keeps. */
async function pack(masters, file) {
  const compiled = path.join(folder, 'compiled.qvr');
  await quaver('compile', masters, '--recipe', recipe, '-o', compiled);
  await quaver('import', compiled, '--name', 'arithmetic', '-o', file);
}

/** Log-probabilities of 100 held-out problems have the same bits in both files. */
async function checkBits(masters, file) {
  await using one = await openSession(masters, { recipe, functions: ['logprobs'] });
  await using other = await openSession(file, { recipe, functions: ['logprobs'] });
  let compared = 0;
  for (let index = 0; index < 100; index++) {
    const [expected, found] = [await logprobBits(one, index), await logprobBits(other, index)];
    const at = expected.findIndex((bits, i) => bits !== found[i]);
    if (at >= 0) throw new Error(`the file differs from its masters: problem ${index}, log-probability ${at}`);
    compared += expected.length;
  }
  return compared;
}

/** The first 20 log-probabilities of a held-out problem that is long enough, by the executor that defines them. */
async function referenceValues(module) {
  await using model = await openSession(module, { recipe, executor: 'reference', functions: ['logprobs'] });
  for (let index = 0; ; index++) {
    const bits = await logprobBits(model, index);
    if (bits.length >= 20) return { problem: index, bits: [...bits.subarray(0, 20)] };
  }
}

function readRun(run) {
  const config = JSON.parse(readFileSync(path.join(run, 'config.json'), 'utf8'));
  const lines = readFileSync(path.join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const records = lines.map((line) => JSON.parse(line));
  const tokens = records.reduce((sum, record) => sum + record.tokens, 0);
  const seconds = records.reduce((sum, record) => sum + Object.values(record.seconds).reduce((a, b) => a + b, 0), 0);
  const loss = records.slice(-20).reduce((sum, record) => sum + record.loss, 0) / Math.min(20, records.length);
  const validation = records.findLast((record) => record.val_loss !== undefined)?.val_loss;
  return { config, steps: records.length, tokens, hours: seconds / 3600, loss, validation };
}

function accuracyTable(accuracy) {
  const head = difficulties.map((difficulty) => ` difficulty ${difficulty} |`).join('');
  const lines = [...accuracy].map(
    ([kind, row]) => `| ${kind} |${row.map(({ right, of }) => ` ${right} / ${of} |`).join('')}`,
  );
  return [`| kind |${head}`, `|---|${difficulties.map(() => '---:|').join('')}`, ...lines];
}

function origin({ config, steps, tokens, hours, loss, validation }, { bytes, compared, accuracy }) {
  const { batch, optimizer, schedule, data } = config;
  const { seed, count } = data.generate;
  const rate = `${schedule.decay.toUpperCase()}, peak ${schedule.peak}, warm-up of ${schedule.warmup} steps`;
  return [
    '# arithmetic.qvr',
    'Trained by this project, from random weights, on problems of this package: there is no other data in it. License: Apache-2.0.',
    '',
    '| | |',
    '|---|---|',
    `| made by | \`npm run train:arithmetic\`, ${new Date().toISOString().slice(0, 10)} |`,
    `| machine | ${os.cpus()[0].model.trim()}, ${os.availableParallelism()} cores, Node ${process.versions.node}; ${hours.toFixed(1)} hours of training |`,
    `| configuration | \`examples/train/tiny.json\` with ${config.steps} steps: recipe \`${config.recipe.name ?? config.recipe}\`, ${batch.rows} rows of ${batch.tokens} tokens a step, seed ${config.seed} |`,
    `| optimizer | ${optimizer.name}, betas ${optimizer.beta1} and ${optimizer.beta2}, weight decay ${optimizer.weight_decay}; learning rate: ${rate} |`,
    `| data | problems 0 to ${count - 1} of seed ${seed}, split \`train\`, difficulties 1 to 3 |`,
    `| steps, tokens | ${steps}, ${(tokens / 1e6).toFixed(2)} million |`,
    `| training loss, mean of the last 20 steps | ${loss.toFixed(4)} nats per token |`,
    `| validation loss | ${validation?.toFixed(4) ?? '–'} nats per token |`,
    `| bytes | ${bytes.length} |`,
    `| sha256 | \`${createHash('sha256').update(bytes).digest('hex')}\` |`,
    '',
    `It is a module that is not compiled, with the weights that \`${recipe}\` makes of the f32 masters: FP8 codes with the scales of their`,
    `blocks, and BF16 where the recipe keeps that. Compiled with \`${recipe}\`, it gave the bits of the masters compiled with it, in all of`,
    `${compared} log-probabilities of 100 held-out problems.`,
    '',
    `Right answers to different held-out problems (seed 1), greedy, compiled with \`${recipe}\`, \`cpu\` executor. Difficulty 4 was not trained on:`,
    '',
    ...accuracyTable(accuracy),
    '',
  ].join('\n');
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const trained = values.from ? path.resolve(values.from) : path.join(folder, 'run');
if (!values.from) await quaver('train', '--config', path.join(root, 'examples/train/tiny.json'), '--out', trained);
const [masters, file] = [path.join(trained, 'model.qvr'), path.join(folder, 'arithmetic.qvr')];
await pack(masters, file);

const bytes = readFileSync(file);
if (bytes.length > mostBytes) throw new Error(`${file} has ${bytes.length} bytes, more than ${mostBytes}`);
await using mastersModule = await readModule(masters);
await using module = await readModule(file);
const compared = await checkBits(mastersModule, module);
console.error(`${bytes.length} bytes; ${compared} log-probabilities have the bits of the masters`);
const reference = await referenceValues(module);
const model = await openSession(module, { recipe, functions: ['prefill', 'decode'] });
const accuracy = await measureAccuracy(model, Number(values.problems), console.error);
await model[Symbol.asyncDispose]();

const text = origin(readRun(trained), { bytes, compared, accuracy });
console.log(text);
if (!values['dry-run']) {
  mkdirSync(path.dirname(modelPath()), { recursive: true });
  copyFileSync(file, modelPath());
  writeFileSync(path.join(path.dirname(modelPath()), 'ORIGIN.md'), text);
  writeFileSync(testValues, `${JSON.stringify(reference)}\n`);
  console.error(`wrote ${path.relative(root, modelPath())}, its ORIGIN.md and ${path.relative(root, testValues)}`);
}
