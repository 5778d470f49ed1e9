import { readFile } from 'node:fs/promises';
import { type CaseReport, type ConformanceReport, parseSkipList, type SkipList } from '@quaver/conformance';
import { packagedSkips, packagedVectors, runConformance } from '@quaver/conformance/node';
import { fileError } from '@quaver/ir/node';
import { registryWith } from '@quaver/sdk/node';
import { Command } from 'commander';
import { writeJson } from '../json-file.ts';
import { checkOutput, sameTarget } from '../output-path.ts';
import { exitFailure, UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { positiveNumber } from '../values.ts';

interface ConformanceFlags extends OutputFlags {
  readonly executor: string;
  readonly filter?: string;
  readonly skip?: string;
  readonly caseTimeout?: number;
  readonly report?: string;
}

export function conformanceCommand(environment: Environment): Command {
  const command = new Command('conformance')
    .description('Test an executor: every op on vectors from outside, its bodies, and how it behaves.')
    .option('--executor <id>', 'what is tested: cpu, reference, a file (./mine.js) or a package', 'cpu')
    .option('--filter <text>', 'only cases with this in their name')
    .option('--skip <file>', 'JSON: {"case pattern": "reason"} of cases that are known to fail')
    .option('--case-timeout <seconds>', 'a case that takes longer has failed (default: 60)', positiveNumber)
    .option('--report <file>', 'write the report as JSON');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver conformance --executor cpu --json
  quaver conformance --executor ./my-executor.js --filter scaled_dot
  quaver conformance --executor my-executor-package --skip known-failures.json

A case that supports() refuses is unsupported, which is allowed. Skipped cases are run too: one that passes is a failure.
After three cases in a row without a result in time the executor is taken for dead, and the rest fails without being run.
Exit code 1 when a case failed.`,
    )
    .action((flags: ConformanceFlags) => test(new Run(environment, flags), environment, flags));
}

async function test(run: Run, environment: Environment, flags: ConformanceFlags): Promise<void> {
  if (flags.executor === 'null') {
    throw new UsageError('the null executor computes nothing, so every case would fail', 'Choose cpu or reference.');
  }
  if (flags.report !== undefined) await checkReport(flags.report, flags);
  const skipList = await skipsOf(flags);
  const { registry, id } = await registryWith(flags.executor);
  const plugin = registry.list().find((item) => item.id === id)!;
  const report = await runConformance(plugin, {
    vectors: packagedVectors,
    skipList,
    signal: run.signal,
    onProgress: ({ done, total }) => run.progress.update('Testing', done, total),
    ...(flags.filter === undefined ? {} : { filter: flags.filter }),
    ...(flags.caseTimeout === undefined ? {} : { caseTimeoutMs: flags.caseTimeout * 1000 }),
  });
  if (flags.report !== undefined) await writeJson(flags.report, report);
  if (report.failed > 0) environment.outcome.exitCode = exitFailure;
  run.result(report, () => readable(report, run));
}

async function checkReport(report: string, { skip, executor }: ConformanceFlags): Promise<void> {
  await checkOutput(report, executor);
  if (skip !== undefined && (await sameTarget(report, skip))) {
    throw new UsageError(`the report ${report} is the skip list`, 'Write the report to another file.');
  }
}

async function skipsOf({ skip, executor }: ConformanceFlags): Promise<SkipList> {
  if (skip === undefined) return packagedSkips(executor);
  const text = await readFile(skip, 'utf8').catch((error) => Promise.reject(fileError(error, skip)));
  return parseSkipList(text, skip);
}

/** Cases of one kind that are listed; the report has all of them. */
const mostListed = 20;

function readable({ executor, cases, ...counts }: ConformanceReport, run: Run): string {
  const list = (status: CaseReport['status'], mark: string) => {
    const found = cases.filter((item) => item.status === status);
    const lines = found.slice(0, mostListed).map(({ name, reason }) => `${mark} ${name}\n    ${reason}`);
    const more = found.length - lines.length;
    return more > 0 ? [...lines, `  … and ${more} more ${status}; --report FILE has all of them.`] : lines;
  };
  const { passed, failed, skipped, unsupported } = counts;
  const summary = `${executor}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${unsupported} unsupported`;
  const lines = [...list('unsupported', '○'), ...list('skipped', '–'), ...list('failed', '✗')];
  return [...lines, run.style(failed === 0 ? 'green' : 'red', summary)].join('\n');
}
