/** @file Writes reports of run folders to files. */
import { writeFileAtomically } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { type RunRecords, readRun } from '../metrics/read-run.ts';
import { type ComparedRun, compareRuns, renderComparison } from './comparison.ts';
import { renderRunReport } from './run-report.ts';

/**
 * Writes the report of a run, a running one too, as one HTML file that needs nothing else.
 * @throws QuaverError as `readRun`, and as `writeFileAtomically` for the output
 */
export async function writeRunReport(runFolder: string, output: string): Promise<void> {
  await writeText(output, renderRunReport(await readRun(runFolder)));
}

/**
 * Writes the comparison of runs with the first of them as one HTML file that needs nothing else; returns the figures of its table. Runs
 * whose folders have equal names are called by the paths that were given.
 * @throws QuaverError `comparison-without-runs`, and as `writeRunReport`
 */
export async function writeComparison(runFolders: readonly string[], output: string): Promise<readonly ComparedRun[]> {
  if (runFolders.length === 0) {
    throw new QuaverError('comparison-without-runs', 'there is no run to compare', {
      hint: 'Give the folders of the runs, the one to compare with first.',
    });
  }
  const runs: RunRecords[] = [];
  for (const folder of runFolders) runs.push(await readRun(folder));
  const ambiguous = new Set(runs.map(({ name }) => name)).size < runs.length;
  const named = ambiguous ? runs.map((run, i) => ({ ...run, name: runFolders[i]! })) : runs;
  await writeText(output, renderComparison(named));
  return compareRuns(named);
}

async function writeText(output: string, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  await writeFileAtomically(output, once(bytes), bytes.byteLength);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
