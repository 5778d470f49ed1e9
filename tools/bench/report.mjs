/** @file The results as a table, and as `docs/benchmarks.md` with its plots. */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../process.mjs';
import { explain } from './explain.mjs';
import { plot } from './plot.mjs';

function figure(value, unit) {
  if (value === null) return '–';
  if (unit === 'bytes') return `${(value / 1e6).toFixed(1)} MB`;
  if (unit === 'R²') return value.toFixed(4);
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

const ratioOf = ({ ratio }) => (ratio === null ? '–' : ratio.toFixed(2));
const targetOf = ({ target, better }) => (target === null ? '–' : `${better === 'lower' ? '≤' : '≥'} ${target}`);
const metOf = ({ met }) => (met === undefined ? '–' : met ? 'yes' : '**no**');

/** The results as lines of a Markdown table. */
export function table(results) {
  return [
    '| id | ours | peer | | ratio | target | met | runs |',
    '|---|---:|---|---:|---:|---:|---|---:|',
    ...results.map((result) =>
      [
        ...['', `\`${result.id}\``, figure(result.value, result.unit), result.peer ?? '–'],
        ...[figure(result.peer_value, result.unit), ratioOf(result), targetOf(result), metOf(result), result.runs, ''],
      ]
        .join(' | ')
        .trim(),
    ),
  ];
}

function machineLines({
  cpu,
  cores,
  isa,
  memory_bytes: memory,
  last_level_cache_bytes: cache,
  os,
  commit,
  arch,
  node,
  date,
  ...rest
}) {
  return [
    `- **Machine**: ${cpu}, ${cores} cores, ${isa}${cache ? `, ${(cache / 2 ** 20).toFixed(0)} MiB of last-level cache (as the system reports it)` : ''}, ${(memory / 2 ** 30).toFixed(0)} GiB memory; ${os}, ${arch}; Node ${node.slice(1)}; ${date}, commit ${commit}; load average before the first line ${rest.load_average.toFixed(2)}`,
    `- **Devices**: ${rest.devices.map(({ id, name }) => `\`${id}\` (${name})`).join(', ')}`,
    `- **Peers**: ${Object.entries(rest.peers)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}`,
  ];
}

const plots = {
  'scaling.context': {
    name: 'scaling-context.svg',
    title: 'A decoding step over the context',
    xTitle: 'tokens in the context',
  },
  'scaling.batch': { name: 'scaling-batch.svg', title: 'A decoding step over the batch', xTitle: 'sequences' },
};

function write(name, text) {
  const file = path.join(root, 'docs', name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.partial`, text);
  renameSync(`${file}.partial`, file);
  return file;
}

/** Links to the runs on other machines that are kept beside the newest one. */
function otherMachines() {
  const folder = path.join(root, 'docs/benchmarks');
  mkdirSync(folder, { recursive: true });
  const pages = readdirSync(folder).filter((name) => name.endsWith('.md'));
  const links = pages.sort().map((name) => {
    const title = /^# (.*)$/m.exec(readFileSync(path.join(folder, name), 'utf8'))?.[1] ?? name;
    return `- [${title}](benchmarks/${name})`;
  });
  return links.length > 0 ? ['## Other machines', ...links, ''] : [];
}

/** Writes docs/benchmarks.md and the plots; the files. */
export function writeDocs({ machine, results, failures = [] }) {
  const files = [];
  const shown = [];
  for (const { id, points } of results) {
    if (!plots[id]) continue;
    const { name, ...texts } = plots[id];
    files.push(write(`benchmarks/${name}`, plot({ ...texts, yTitle: 'milliseconds', points })));
    shown.push(`![${texts.title}](benchmarks/${name})`, '');
    shown.push(`| ${texts.xTitle} | ms |`, '|---:|---:|', ...points.map(([x, y]) => `| ${x} | ${y.toFixed(2)} |`), '');
  }
  const count = (met) => results.filter((result) => result.met === met).length;
  const explained = results.map((result) => [result, explain(result, results)]).filter(([, text]) => text !== '');
  const silent = results.find(({ id, met }) => met === false && !explained.some(([result]) => result.id === id));
  if (silent) throw new Error(`the line ${silent.id} missed its target, and nothing says what binds`);
  const text = [
    '# Benchmarks',
    '',
    'Written by `npm run bench -- --write-docs`; do not edit. Every figure is the median of runs in which we and the peer take',
    'turns, each in a process of its own, with the same weights, prompts, sampling and number of threads (lines with one run have',
    "none to take turns with). The ratio is ours to the peer's. Limits (memory bandwidth, peak of multiply-adds) are measured in the",
    'same run, in the process of what they are compared with.',
    '',
    ...machineLines(machine),
    '',
    `${count(true)} targets met, ${count(false)} missed.`,
    '',
    ...table(results),
    ...(failures.length
      ? ['', 'Not measured:', ...failures.map(({ id, error }) => `- \`${id}\`: ${error.split('\n')[0]}`)]
      : []),
    '',
    '## The lines',
    ...results.map(({ id, title }) => `- \`${id}\`: ${title}`),
    '',
    '## What binds',
    ...explained.map(([{ id, met }, words]) => `- \`${id}\`${met === false ? ' (missed)' : ''}: ${words}`),
    '',
    ...(shown.length ? ['## Growth', '', ...shown] : []),
    ...otherMachines(),
    '## Run it again',
    '```',
    'npm run bench                                  # all lines; installs the peers into tools/bench/peers the first time',
    'npm run -s bench -- --json --only decode.fp8   # some lines, as JSON',
    'npm run bench -- --write-docs                  # writes this page',
    '```',
    'Nothing else should run on the machine: with two threads on two cores, a third busy thread stops peers that wait by spinning.',
    '',
  ];
  files.push(write('benchmarks.md', text.join('\n')));
  return files;
}
