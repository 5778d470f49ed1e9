import { mkdirSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { formatReport } from '@quaver/compiler';
import { fileError } from '@quaver/ir/node';
import { type CompileModelOptions, compileModel, defaultRecipe, saveModule } from '@quaver/sdk/node';
import { Command, Option } from 'commander';
import { shortReport, timeLine } from '../compile-report.ts';
import { writeJson } from '../json-file.ts';
import { openModel } from '../model-file.ts';
import { readRecipe } from '../model-flags.ts';
import { checkOutput, sameTarget } from '../output-path.ts';
import { UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatBytes } from '../terminal/units.ts';
import { commaList } from '../values.ts';

interface CompileFlags extends OutputFlags {
  readonly output: string;
  readonly recipe: string;
  readonly kvCache?: 'bf16' | 'fp8';
  readonly attention?: 'bf16' | 'fp8';
  readonly lmHead?: 'bf16' | 'fp8';
  readonly report?: string;
  readonly strict?: true;
  readonly verbose?: true;
  readonly only?: readonly string[];
  readonly stopAfter?: string;
  readonly disablePass?: readonly string[];
  readonly dumpIr?: string;
  readonly printChanged?: true;
}

export function compileCommand(environment: Environment): Command {
  const precision = (flags: string, description: string) => new Option(flags, description).choices(['bf16', 'fp8']);
  const command = new Command('compile')
    .description('Lower a module to a precision recipe, and report what that did.')
    .argument('<model>', 'a .qvr file made by quaver import')
    .requiredOption('-o, --output <file>', 'the .qvr file to write')
    .option('--recipe <name|file>', 'a built-in recipe, or a JSON file', defaultRecipe)
    .addOption(precision('--kv-cache <type>', 'keys and values; default as the recipe says'))
    .addOption(precision('--attention <type>', 'queries and probabilities; fp8 brings an FP8 cache with it'))
    .addOption(precision('--lm-head <type>', 'the output projection'))
    .option('--report <file>', 'write the FP8 report as JSON')
    .option('--strict', 'fail when a layer cannot get the precision that was asked for')
    .option('-v, --verbose', 'print the whole report, layer by layer')
    .option('--only <passes>', 'run these passes only, with commas between them', commaList)
    .option('--stop-after <pass>', 'end after the first run of this pass')
    .option('--disable-pass <passes>', 'leave these passes out, with commas between them', commaList)
    .option('--dump-ir <folder>', 'write the graph as text after every pass')
    .option(
      '--print-changed',
      'print the graph to standard error after passes that changed it; with --dump-ir, write only those',
    );
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver compile model.qvr --recipe fp8-block -o model.fp8.qvr --report report.json
  quaver compile model.qvr --recipe fp8-block --kv-cache fp8 --attention fp8 -o model.fp8kv.qvr
  quaver compile model.qvr --recipe mine.json --strict -o model.mine.qvr
  quaver compile model.qvr --stop-after fp8-lower --dump-ir ir/ -o partial.qvr

Recipes: fp8-block (default), fp8-block-f32, fp8-tensor, fp8-delayed, fp8-row, mxfp8, bf16, f32, fp8-generate-only.`,
    )
    .action((model: string, flags: CompileFlags) => compile(new Run(environment, flags), environment, model, flags));
}

async function compile(run: Run, environment: Environment, file: string, flags: CompileFlags): Promise<void> {
  const { output } = flags;
  await checkOutput(output, file, flags.recipe);
  if (flags.report !== undefined) {
    await checkOutput(flags.report, file, flags.recipe);
    if (await sameTarget(flags.report, output)) {
      throw new UsageError(`the report ${flags.report} is the output`, 'Write the report to another file.');
    }
  }
  const clock = new Stopwatch();
  await using source = await openModel(run, file);
  const options = await compileOptions(run, environment, flags);
  clock.lap('read');
  const { module, report } = await compileModel(source, options);
  clock.lap('compile');
  await saveModule(module, output, {
    signal: run.signal,
    onProgress: ({ bytes, totalBytes }) => run.progress.update('Writing', bytes, totalBytes),
  });
  clock.lap('write');
  if (flags.report !== undefined) await writeJson(flags.report, report);
  const bytes = (await stat(output)).size;
  run.result({ path: output, bytes, milliseconds: clock.laps, report }, () =>
    [
      flags.verbose ? formatReport(report).trimEnd() : shortReport(report, run.style),
      '',
      timeLine(clock.laps, report),
      `${output}: ${formatBytes(bytes)}`,
    ].join('\n'),
  );
}

async function compileOptions(run: Run, environment: Environment, flags: CompileFlags): Promise<CompileModelOptions> {
  const { kvCache, attention, lmHead, strict, only, stopAfter, disablePass: disable, printChanged } = flags;
  return {
    recipe: await readRecipe(flags.recipe),
    kvCache,
    attention,
    lmHead,
    strict,
    only,
    stopAfter,
    disable,
    printChanged,
    dumpIr: dumper(flags, environment),
    signal: run.signal,
    onProgress: ({ type, done, total }) =>
      run.progress.update(type === 'pass' ? 'Compiling' : 'Quantizing weights', done, total),
  };
}

/** Receives the graph after every pass: numbered files in a folder, or standard error. */
function dumper(
  { dumpIr: folder, printChanged }: CompileFlags,
  { stderr }: Environment,
): CompileModelOptions['dumpIr'] {
  if (folder !== undefined) {
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw fileError(error, folder);
    }
    return (index, pass, text) => {
      const file = path.join(folder, `${String(index).padStart(2, '0')}-${pass}.txt`);
      try {
        writeFileSync(file, text);
      } catch (error) {
        throw fileError(error, file);
      }
    };
  }
  if (!printChanged) return undefined;
  return (_index, pass, text) => {
    stderr.write(`after ${pass}:\n${text}\n`);
  };
}

/** Milliseconds between laps, by name. */
class Stopwatch {
  readonly laps: Record<string, number> = {};
  #last = performance.now();

  lap(name: string): void {
    const now = performance.now();
    this.laps[name] = Math.round(now - this.#last);
    this.#last = now;
  }
}
