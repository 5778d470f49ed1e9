/**
 * @file `npm run demo`: gets a real model, compiles it to FP8, shows the report, generates text, and compares generation with
 * training bit for bit, with the commands that anyone would use. Made files are kept in the cache, so that a second run is quick.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '@quaver/sdk/node';
import { root } from './process.mjs';

const quaverCommand = path.join(root, 'packages/cli/bin/quaver.js');
const started = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const bold = (text) => (process.stdout.isTTY && !process.env.NO_COLOR ? `\u001b[1m${text}\u001b[0m` : text);
const say = (text = '') => console.log(text);

/** Runs a quaver command and shows it; `take` gives its standard output back instead of printing it. */
async function quaver(args, { take = false } = {}) {
  const shown = args.map((arg) => (/[\s"?]/.test(arg) ? `"${arg}"` : arg.replace(`${folder}${path.sep}`, '')));
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
function keyOf(checkpoint) {
  const hash = createHash('sha256').update(`${checkpoint} ${statSync(checkpoint).mtimeMs}\n`);
  for (const name of readdirSync(path.join(root, 'packages')).sort()) {
    const stamp = path.join(root, 'packages', name, 'dist/.tsbuildinfo');
    if (existsSync(stamp)) hash.update(readFileSync(stamp));
  }
  return hash.digest('hex').slice(0, 12);
}

const folder = path.join(cacheFolder(), 'demo');
mkdirSync(folder, { recursive: true });
// The first Ctrl-C is for the command that runs: it cleans up, and its exit code ends the demo.
process.on('SIGINT', () => undefined);

say(bold('Quaver: one FP8 graph for generation and for training'));
const checkpoint = await quaver(['pull', 'smollm2-135m-instruct'], { take: true });
say(checkpoint);

const key = keyOf(checkpoint);
for (const name of readdirSync(folder)) {
  if (/\.(qvr|json)$/.test(name) && !name.includes(key)) rmSync(path.join(folder, name));
}
const model = path.join(folder, `smollm2-${key}.qvr`);
const compiled = path.join(folder, `smollm2-${key}.fp8.qvr`);
const report = path.join(folder, `report-${key}.json`);

const made = performance.now();
if (!existsSync(model)) await quaver(['import', checkpoint, '-o', model]);
if (existsSync(compiled) && existsSync(report)) {
  say(`\nAlready compiled: ${compiled}`);
} else {
  await quaver(['compile', model, '--recipe', 'fp8-block', '-o', compiled, '--report', report]);
  say(`\nImported and compiled in ${seconds(made)}; the whole report: ${report}`);
}

const { linear_weights: weights, bytes } = JSON.parse(readFileSync(report, 'utf8'));
const megabytes = (count) => `${(count / 1e6).toFixed(1).padStart(7)} MB`;
say(`
${bold('Sizes')}
  linear weights in BF16              ${megabytes(weights.bf16_bytes)}
  linear weights compiled, with scales${megabytes(weights.bytes)}   (${weights.ratio.toFixed(3)} of BF16)
  all parameters, imported            ${megabytes(bytes.before.total)}
  all parameters, compiled            ${megabytes(bytes.after.total)}`);

const question = 'What is gravity? Answer in two sentences.';
await quaver(['generate', compiled, '--chat', '--prompt', question, '--max-new-tokens', '64']);

say(
  `\n${bold('The same bits in generation and training?')} Log-probabilities by every route, with a KV cache in BF16 and in FP8:`,
);
await quaver(['parity', compiled, '--tokens', '8']);

say(`\nDone in ${seconds(started)}. The files are in ${folder}. Ask something else:`);
say(`  npm run -s quaver -- generate ${compiled} --chat --prompt "…"`);
