#!/usr/bin/env node
/**
 * @file Writes FEATURES.md: which ops, dtypes, recipes and models work where. Nothing in it is typed by hand: small models
 * are compiled with every recipe, and executors are run through the conformance cases. Needs `tsc -b` to have run.
 * `--check` writes nothing and fails when the committed file differs.
 */
import fs from 'node:fs';
import path from 'node:path';
import { builtInRecipes, compile, rematPolicies, rowInvariance, withOptions } from '../packages/compiler/dist/index.js';
import { packagedSkips, packagedVectors, runConformance } from '../packages/conformance/dist/node.js';
import { referencePlugin, Session } from '../packages/executor/dist/index.js';
import { cpuPlugin } from '../packages/executor-cpu/dist/index.js';
import { openCheckpoint } from '../packages/formats/dist/node.js';
import { importModel } from '../packages/models/dist/index.js';
import { algorithms, corrections } from '../packages/rl/dist/index.js';
import { tasks } from '../packages/rl/dist/node.js';
import { adamw, trainingModule } from '../packages/train/dist/index.js';

const root = path.resolve(import.meta.dirname, '..');
const target = path.join(root, 'FEATURES.md');
const models = path.join(root, 'packages/models/test/data/tiny');

/** Every recipe as it is, and with FP8 in the cache, in attention and in the output projection; plain f32 takes none. */
const variants = [...builtInRecipes.keys()].flatMap((name) => [
  { label: name, recipe: name },
  ...(name === 'f32'
    ? []
    : [
        { label: `${name}, FP8 KV cache`, recipe: withOptions(name, { kvCache: 'fp8' }) },
        { label: `${name}, FP8 attention`, recipe: withOptions(name, { attention: 'fp8' }) },
        { label: `${name}, FP8 output projection`, recipe: withOptions(name, { lmHead: 'fp8' }) },
      ]),
]);

const unique = (items) => [...new Set(items)];

/** What the recipes make of the models: how many combinations, and the op and dtype signatures in them. */
async function survey() {
  const recipes = new Set();
  const signatures = new Set();
  for (const folder of fs.readdirSync(models).sort()) {
    const checkpoint = await openCheckpoint(path.join(models, folder));
    const { module } = await importModel(checkpoint, checkpoint.assets);
    for (const { label, recipe } of variants) {
      const { module: lowered } = await compile(module, { recipe });
      recipes.add(label);
      for (const { op, operands, results } of lowered.functions.flatMap(({ nodes }) => nodes)) {
        const dtypes = operands.filter(Boolean).map((value) => value.type.dtype);
        signatures.add(signature(op, dtypes, results[0].type.dtype));
      }
    }
    await checkpoint.close();
  }
  return { recipes, signatures };
}

/** What training a small model with each recipe takes: the three products of a linear layer, and what the CPU has kernels for. */
async function surveyTraining() {
  const checkpoint = await openCheckpoint(path.join(models, 'llama3'));
  const { module } = await importModel(checkpoint, checkpoint.assets);
  const optimizer = adamw({ weightDecay: 0.1 });
  const training = trainingModule(module, { optimizer: () => optimizer, maxGradientNorm: 1 });
  const executor = await cpuPlugin.open();
  const lines = [];
  for (const [name, recipe] of builtInRecipes) {
    const { module: lowered, report } = await compile(training.module, { recipe });
    const precision = (product) =>
      unique(report.linears.filter((line) => line.product === product).map((line) => line.precision)).join('<br>') ||
      '–';
    const session = await Session.open(lowered, executor, { functions: ['backward', 'update'] });
    const other = ['backward', 'update']
      .flatMap((fn) => session.assignments(fn))
      .filter(({ support }) => !support.native)
      .map(({ op }) => op);
    await session[Symbol.asyncDispose]();
    lines.push(
      `| \`${name}\` | ${['fprop', 'dgrad', 'wgrad'].map(precision).join(' | ')} | ${unique(other).join(', ') || 'none'} |`,
    );
  }
  await executor[Symbol.asyncDispose]();
  await checkpoint.close();
  return lines;
}

const signature = (op, dtypes, result) => `${op}\t${[...dtypes, '→', result].join(' ')}`;

/** Op and signature → executor → how its cases went. A body is a case of its own: it says nothing of the composite. */
function rowsOf(reports) {
  const rows = new Map();
  for (const { executor, cases } of reports) {
    for (const { name, op, dtypes, result_dtypes, status, via } of cases) {
      if (name.startsWith('behaviour/') || name.endsWith('(body)')) continue;
      const key = signature(op, dtypes, result_dtypes[0]);
      const row = rows.get(key) ?? new Map(reports.map((report) => [report.executor, []]));
      rows.set(key, row);
      row.get(executor).push(status === 'passed' ? via : status);
    }
  }
  return rows;
}

/** Lines of the table: signatures of one op with the same answers share one. */
function linesOf(rows, needed, executors) {
  const lines = new Map();
  for (const [key, row] of [...rows].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [op, dtypes] = key.split('\t');
    const answers = executors.map((id) => unique(row.get(id)).sort().join(' or '));
    const id = [op, ...answers].join('\t');
    const line = lines.get(id) ?? { op, answers, signatures: [], cases: 0 };
    line.signatures.push(needed.has(key) ? `**${dtypes}**` : dtypes);
    line.cases += row.get(executors[0]).length;
    lines.set(id, line);
  }
  return [...lines.values()].map(
    ({ op, answers, signatures, cases }) =>
      `| \`${op}\` | ${signatures.join('<br>')} | ${cases} | ${answers.join(' | ')} |`,
  );
}

const plugins = [cpuPlugin, referencePlugin()];
const reports = [];
for (const plugin of plugins) {
  const skipList = await packagedSkips(plugin.id);
  reports.push(await runConformance(plugin, { vectors: packagedVectors, skipList }));
}
const { recipes, signatures } = await survey();
const trainingLines = await surveyTraining();
const rows = rowsOf(reports);
const untested = [...signatures].filter((key) => !rows.has(key));
if (untested.length > 0) {
  const list = untested.sort().join('\n').replaceAll('\t', ' ');
  console.error(`No conformance case has these nodes, which recipes make:\n${list}`);
  process.exit(1);
}
const behaviours = reports[0].cases.filter(({ name }) => name.startsWith('behaviour/')).map(({ name }) => name);
const statusOf = (report, name) => report.cases.find((item) => item.name === name).status;
const totals = ({ executor, passed, failed, skipped, unsupported }) =>
  `${executor}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${unsupported} unsupported`;

const table = (head, lines) => [`| ${head.join(' | ')} |`, `|${head.map(() => '---').join('|')}|`, ...lines].join('\n');

const text = `# Features
<!-- Generated by tools/features.mjs from the code; do not edit. -->

## Models
Imported from safetensors or GGUF, compiled with every recipe below: ${fs.readdirSync(models).sort().join(', ')}.

## Recipes
${table(
  ['recipe', 'row-invariant', 'why'],
  [...builtInRecipes].map(([name, recipe]) => {
    const { rowInvariant, why } = rowInvariance(recipe, ['generate', 'train']);
    return `| \`${name}\` | ${rowInvariant ? 'yes' : 'no'} | ${why} |`;
  }),
)}

Options: \`--kv-cache fp8\`, \`--attention fp8\`, \`--lm-head fp8\`. ${recipes.size} combinations were compiled for this page.

## Training
Two-layer Llama 3 with AdamW: operands of the products of its linear layers, and what of a step the \`cpu\` executor has no kernel for.

${table(['recipe', 'fprop', 'dgrad', 'wgrad', 'without a kernel'], trainingLines)}

Optimizers: ${['adamw', 'sgd', 'adafactor', 'muon'].map((name) => `\`${name}\``).join(', ')}. Rematerialization: ${rematPolicies.map((name) => `\`${name}\``).join(', ')}.

## Reinforcement learning
${table(
  ['algorithm', 'what it is'],
  algorithms.map(({ name, summary }) => `| \`${name}\` | ${summary} |`),
)}

${table(
  ['correction', 'what it is'],
  corrections.map(({ name, summary }) => `| \`${name}\` | ${summary} |`),
)}

${table(
  ['task', 'what it is'],
  tasks.map(({ name, summary }) => `| \`${name}\` | ${summary} |`),
)}

## Ops by dtype and executor
From \`quaver conformance\`: ${reports.map(totals).join('; ')}. Every case has operands and results that numpy made
([packages/conformance](packages/conformance)). *kernel*: passed, by the executor's own code; *definition*: passed, by the exact
evaluation of the op registry; *body*: passed, as a composite that the session expands (bodies also have cases of their own).
Two answers mean that it depends on attributes or shapes. **Bold**: the recipes above make such nodes of the models above.

${table(
  ['op', 'operands → result', 'cases', ...plugins.map(({ id }) => id)],
  linesOf(
    rows,
    signatures,
    plugins.map(({ id }) => id),
  ),
)}

## Behaviour
${table(
  ['case', ...plugins.map(({ id }) => id)],
  behaviours.map(
    (name) => `| ${name.slice('behaviour/'.length)} | ${reports.map((report) => statusOf(report, name)).join(' | ')} |`,
  ),
)}
`;

if (process.argv.includes('--check')) {
  const committed = fs.existsSync(target) ? fs.readFileSync(target, 'utf8') : '';
  if (committed !== text) {
    console.error('FEATURES.md differs from the code: run `node tools/features.mjs` and commit it');
    process.exitCode = 1;
  }
} else fs.writeFileSync(target, text);
