/**
 * @file `npm run demo`: compiles a model to FP8, shows the report, generates text, and compares generation with training bit for bit,
 * and reinforcement learning by three recipes, with the commands that anyone would use. The model is our own that solves arithmetic problems, so no network is needed;
 * `npm run demo -- --model smollm2` gets SmolLM2-135M-Instruct. Made files are kept in the cache, so that a second run is quick.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { generateProblem, isCorrect, kinds } from '@quaver/model-arithmetic';
import { modelPath } from '@quaver/model-arithmetic/node';
import { cacheFolder } from '@quaver/sdk/node';
import { root } from './process.mjs';

const models = { arithmetic: { find: async () => modelPath(), use: solve }, smollm2: { find: pullSmollm2, use: chat } };
const name = chosenModel();

const quaverCommand = path.join(root, 'packages/cli/bin/quaver.js');
const started = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const bold = (text) => (process.stdout.isTTY && !process.env.NO_COLOR ? `\u001b[1m${text}\u001b[0m` : text);
const say = (text = '') => console.log(text);

function chosenModel() {
  let problem;
  try {
    const { model } = parseArgs({ options: { model: { type: 'string', default: 'arithmetic' } } }).values;
    if (Object.hasOwn(models, model)) return model;
    problem = `There is no model "${model}" to show.`;
  } catch (error) {
    problem = error.message;
  }
  console.error(`${problem}\nUsage: npm run demo -- --model ${Object.keys(models).join('|')}`);
  process.exit(2);
}

/** Runs a quaver command and shows it; `take` gives its standard output back instead of printing it. */
async function quaver(args, { take = false } = {}) {
  const shown = args.map((arg) =>
    /[\s"?]/.test(arg) ? `"${arg}"` : arg.replace(`${folder}${path.sep}`, '').replace(root, ''),
  );
  say(`\n${bold(`$ quaver ${shown.join(' ')}`)}`);
  const child = spawn(process.execPath, [quaverCommand, ...args], {
    stdio: ['ignore', take ? 'pipe' : 'inherit', 'inherit'],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(signal ? 130 : status));
  });
  if (code !== 0) process.exit(code);
  return output.trim();
}

/** Changes when the model or the compiled packages do: then the files of an earlier run are of no use. */
function keyOf(source) {
  const hash = createHash('sha256').update(`${source} ${statSync(source).mtimeMs}\n`);
  for (const each of readdirSync(path.join(root, 'packages')).sort()) {
    const stamp = path.join(root, 'packages', each, 'dist/.tsbuildinfo');
    if (existsSync(stamp)) hash.update(readFileSync(stamp));
  }
  return hash.digest('hex').slice(0, 12);
}

/** The checkpoint, from the cache or the network. */
async function pullSmollm2() {
  const checkpoint = await quaver(['pull', 'smollm2-135m-instruct'], { take: true });
  say(checkpoint);
  return checkpoint;
}

async function chat() {
  const question = 'What is gravity? Answer in two sentences.';
  await quaver(['generate', compiled, '--chat', '--prompt', question, '--max-new-tokens', '64']);
}

/** Three recipes learn from verified answers, with generation and training on one executor and apart. */
async function compareRecipes() {
  say(`
${bold('Three recipes of reinforcement learning.')} unified: one executor generates and trains; split: generation adds in another order, as other
engines do. A mult. prob. error of 1 says that both phases gave every token the same probability.`);
  const runs = path.join(folder, 'rl');
  rmSync(runs, { recursive: true, force: true });
  const config = path.join(root, 'examples/rl/demo.json');
  const output = path.join(folder, 'rl.html');
  await quaver(['rl', 'compare', '--config', config, '--out', runs, '-o', output, '--quiet']);
}

/** Problems that training did not show, the first of each kind; the verifier reads the last line of the answer. */
async function solve() {
  let right = 0;
  for (const kind of kinds) {
    const problem = generateProblem(1, 0, 'held-out', { kinds: [kind], difficulties: [2] });
    const text = await quaver(['generate', compiled, '--chat', '--quiet', '--prompt', problem.prompt], { take: true });
    const correct = isCorrect(problem, text);
    if (correct) right++;
    say(`${text}\n${bold(correct ? '✓ right' : `✗ wrong: it is ${problem.answer}`)}`);
  }
  say(`\n${right} of ${kinds.length} answers are right. All measurements: packages/model-arithmetic/model/ORIGIN.md`);
}

const folder = path.join(cacheFolder(), 'demo');
mkdirSync(folder, { recursive: true });
// The first Ctrl-C is for the command that runs: it cleans up, and its exit code ends the demo.
process.on('SIGINT', () => undefined);

say(bold('Quaver: one FP8 graph for generation and for training'));
const source = await models[name].find();
const key = keyOf(source);
for (const file of readdirSync(folder)) {
  if (file.startsWith(`${name}-`) && !file.includes(key)) rmSync(path.join(folder, file));
}
const imported = source.endsWith('.qvr') ? source : path.join(folder, `${name}-${key}.qvr`);
const compiled = path.join(folder, `${name}-${key}.fp8.qvr`);
const report = path.join(folder, `${name}-${key}.report.json`);

const made = performance.now();
if (!existsSync(imported)) await quaver(['import', source, '-o', imported]);
if (name === 'smollm2' && existsSync(compiled) && existsSync(report)) {
  say(`\nAlready compiled: ${compiled}`);
} else {
  await quaver(['compile', imported, '--recipe', 'fp8-block', '-o', compiled, '--report', report]);
  say(`\nMade in ${seconds(made)}; the whole report: ${report}`);
}

const { linear_weights: weights, bytes } = JSON.parse(readFileSync(report, 'utf8'));
const megabytes = (count) => `${(count / 1e6).toFixed(1).padStart(7)} MB`;
say(`
${bold('Sizes')}
  linear weights in BF16              ${megabytes(weights.bf16_bytes)}
  linear weights compiled, with scales${megabytes(weights.bytes)}   (${weights.ratio.toFixed(3)} of BF16)
  all parameters, imported            ${megabytes(bytes.before.total)}
  all parameters, compiled            ${megabytes(bytes.after.total)}`);

await models[name].use();

say(
  `\n${bold('The same bits in generation and training?')} Log-probabilities by every route, with a KV cache in BF16 and in FP8:`,
);
await quaver(['parity', compiled, '--tokens', '8']);

if (name === 'arithmetic') await compareRecipes();

say(`\nDone in ${seconds(started)}. The files are in ${folder}. Ask something else:`);
say(`  npm run -s quaver -- generate ${compiled} --chat --prompt "…"`);
