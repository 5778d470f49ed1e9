import path from 'node:path';
import { parseRlConfig, type RlConfig, rooflineText } from '@quaver/rl';
import { readRlConfig } from '@quaver/rl/node';
import { rlModel } from '@quaver/sdk/node';
import { Command } from 'commander';
import { readRecipe } from '../../model-flags.ts';
import { UsageError } from '../../report-error.ts';
import { readRlConfigFile } from '../../rl-config.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../../run.ts';
import { nonNegativeInteger, positiveInteger } from '../../values.ts';
import { percent, RlView } from './view.ts';

interface RlRunFlags extends OutputFlags {
  readonly config?: string;
  readonly recipe?: string;
  readonly steps?: number;
  readonly seed?: number;
  readonly mode?: string;
  readonly out?: string;
  readonly resume?: string;
  readonly executor: string;
  readonly threads?: number;
}

export function rlRunCommand(environment: Environment): Command {
  const command = new Command('run')
    .description('Improve a model on a task whose answers can be verified.')
    .option('--config <file>', 'a configuration as JSON; flags change it')
    .option('--recipe <name|file>', 'a built-in recipe, or a JSON file')
    .option('--steps <count>', 'batches of rollouts to learn from', positiveInteger)
    .option('--seed <n>', 'of prompts and draws', nonNegativeInteger)
    .option('--mode <mode>', 'unified, or split: generation adds in any order, as other engines do')
    .option('--out <folder>', 'where the run keeps its records, checkpoints and model (default: runs/NAME)')
    .option('--resume <folder>', 'go on from the latest checkpoint of a run, to the steps that it was started with')
    .option('--executor <id>', 'what runs the graph: cpu, reference, a file (./mine.js) or a package', 'cpu')
    .option('--threads <count>', 'how many threads compute (default: QUAVER_THREADS, or every CPU)', positiveInteger);
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver rl run --config examples/rl/arithmetic.json
  quaver rl run --config examples/rl/arithmetic.json --recipe bf16 --out runs/bf16
  quaver rl run --resume runs/bf16
  quaver compare runs/bf16 runs/arithmetic -o report.html

Ctrl-C stops after the step that is under way, with a checkpoint. The folder holds config.json, metrics.jsonl, events for
TensorBoard, checkpoints/, and in the end report.html and model.qvr.`,
    )
    .action((flags: RlRunFlags) => runRl(new Run(environment, flags), flags));
}

async function runRl(run: Run, flags: RlRunFlags): Promise<void> {
  const { config, folder } = await chooseRun(flags);
  const view = new RlView(run);
  let savedAt: number | undefined;
  const result = await rlModel({
    config,
    folder,
    resume: flags.resume !== undefined,
    executor: flags.executor,
    signal: run.signal,
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    onEvent: (event) => {
      if (event.phase === 'checkpoint') savedAt = event.step;
      view.show(event);
    },
  }).catch((error) => {
    if (run.signal.aborted && savedAt !== undefined) {
      run.note(`Stopped after step ${savedAt}; to go on: quaver rl run --resume ${folder}`);
    }
    throw error;
  });
  run.result({ ...result, folder }, () => {
    const accuracy =
      result.heldout_accuracy === null
        ? ''
        : `, held-out accuracy ${percent(result.heldout_accuracy)} (before: ${percent(result.heldout_accuracy_before)})`;
    const error = result.token_mult_prob_error;
    return [
      `${result.steps} ${result.steps === 1 ? 'step' : 'steps'}${accuracy}`,
      ...(error === null
        ? []
        : [
            `token_mult_prob_error ${error}: ${result.mismatched_tokens} of ${result.compared_tokens} compared tokens differ in training`,
          ]),
      rooflineText(result.roofline),
      `${result.model}: the trained model`,
      `${path.join(folder, 'report.html')}: the report`,
    ].join('\n');
  });
}

/** What a run is started with, and goes on with. */
const startFlags = ['config', 'recipe', 'steps', 'seed', 'mode', 'out'] as const satisfies (keyof RlRunFlags)[];

async function chooseRun(flags: RlRunFlags): Promise<{ readonly config: RlConfig; readonly folder: string }> {
  if (flags.resume !== undefined) {
    const others = startFlags.filter((name) => flags[name] !== undefined).map((name) => `--${name}`);
    if (others.length > 0) {
      throw new UsageError(
        `--resume goes on as the run was started; it does not go with ${others.join(', ')}`,
        'Start a new run to change it.',
      );
    }
    return { config: await readRlConfig(flags.resume), folder: flags.resume };
  }
  if (flags.config === undefined) throw new UsageError('--config is missing', 'Give one, or a run to --resume.');
  const { steps, seed, mode } = flags;
  const recipe = flags.recipe === undefined ? undefined : await readRecipe(flags.recipe);
  const given = { steps, seed, mode, recipe };
  const changed = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const config = parseRlConfig({ ...(await readRlConfigFile(flags.config)), ...changed });
  return { config, folder: flags.out ?? path.join('runs', path.parse(flags.config).name) };
}
