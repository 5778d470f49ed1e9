/**
 * @file `npm run bench`: side by side with peers and with the measured limits of the machine, one line for every claim.
 *
 *   npm run bench                                 all lines, as a table
 *   npm run bench -- train                        lines by id, or by the first parts of it
 *   npm run -s bench -- --json                    {"machine", "results"} on standard output
 *   npm run -s bench -- --only gemm.fp8 --runs 3  the same; more with commas
 *   npm run bench -- --list                       the ids
 *   npm run bench -- --write-docs                 also writes docs/benchmarks.md and its plots
 */
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { killContestants } from './contestant.mjs';
import { lines, selectLines } from './lines/index.mjs';
import { describeMachine } from './machine.mjs';
import { installPeers, installPythonPeers, whyNoPeers } from './peers.mjs';
import { table, writeDocs } from './report.mjs';
import { runGroup } from './run-group.mjs';

const usage =
  'Usage: npm run bench -- [ID …] [--json] [--only ID[,ID…]] [--runs N] [--list] [--write-docs] [--out FILE]';

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      'write-docs': { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      runs: { type: 'string', default: '5' },
      out: { type: 'string' },
    },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1)
    throw new RangeError(`--runs is ${values.runs}, expected a whole number above 0`);
  return { ...values, runs, selected: selectLines([...positionals, ...values.only].flatMap((ids) => ids.split(','))) };
}

const started = performance.now();
const say = (text) => console.error(`[${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s] ${text}`);

/** Lines that this machine can run; the others are named. */
function possible(selected) {
  const cores = os.availableParallelism();
  const noPeers = whyNoPeers();
  return selected.filter(({ id, threads = 1, needsPeers }) => {
    const why =
      threads > cores ? `it needs ${threads} cores, there are ${cores}` : needsPeers && noPeers ? noPeers : undefined;
    if (why) say(`${id} is left out: ${why}`);
    return !why;
  });
}

async function measure(selected, runs) {
  const results = [];
  const failures = [];
  for (const group of new Set(selected.map((line) => line.group))) {
    const together = selected.filter((line) => line.group === group);
    say(`${group}: ${together.map(({ id }) => id).join(', ')}`);
    try {
      const measured = await runGroup(together, { runs, say });
      for (const { id, value, unit, ratio } of measured) {
        say(`  ${id}: ${value.toPrecision(4)} ${unit}${ratio === null ? '' : `, ratio ${ratio.toFixed(3)}`}`);
      }
      results.push(...measured);
    } catch (error) {
      for (const { id } of together) failures.push({ id, error: error.message });
      say(`  ${group} failed: ${error.stack}`);
    }
  }
  return { results, failures };
}

async function main() {
  const { json, list, runs, out, selected, 'write-docs': docs } = readArguments();
  if (list) {
    for (const { id, title, peer, target } of lines) {
      console.log([id, title, peer ?? '', target === undefined ? '' : `target ${target}`].join('\t'));
    }
    return;
  }
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ]) {
    process.on(signal, () => {
      killContestants();
      process.exit(code);
    });
  }
  const chosen = possible(selected);
  if (chosen.some(({ needsPeers }) => needsPeers)) await installPeers(say);
  if (chosen.some(({ needsPython }) => needsPython)) await installPythonPeers(say);
  const machine = await describeMachine();
  const { results, failures } = await measure(chosen, runs);
  const report = { machine, results, ...(failures.length ? { failures } : {}) };
  if (out) writeFileSync(out, `${JSON.stringify(report, null, 2)}\n`);
  if (docs) for (const file of writeDocs(report)) say(`wrote ${file}`);
  console.log(json ? JSON.stringify(report, null, 2) : table(results).join('\n'));
  // A missed target is a result; a line that could not be measured is a failure.
  process.exitCode = failures.length ? 1 : 0;
}

try {
  await main();
} catch (error) {
  killContestants();
  const wrongArguments = error.code?.startsWith('ERR_PARSE_ARGS') || error instanceof RangeError;
  console.error(wrongArguments ? `${error.message}\n${usage}` : error.stack);
  process.exitCode = wrongArguments ? 2 : 1;
}
