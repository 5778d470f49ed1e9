import path from 'node:path';
import {
  defaultRecipe,
  planTraining,
  QuaverError,
  type TrainingPlan,
  type TrainModelResult,
  trainModel,
} from '@quaver/sdk/node';
import { parseTrainConfig, type TrainConfig } from '@quaver/train';
import { readRunConfig, type TrainEvent } from '@quaver/train/node';
import { Command, Option } from 'commander';
import { readRecipe } from '../model-flags.ts';
import { UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatTable } from '../terminal/table.ts';
import { formatBytes, formatDuration } from '../terminal/units.ts';
import { fromFlags, readConfigFile, withLength } from '../train-config.ts';
import { fraction, nonNegativeInteger, positiveInteger, positiveNumber } from '../values.ts';

export interface TrainFlags extends OutputFlags {
  readonly config?: string;
  readonly model?: string;
  readonly data?: readonly string[];
  readonly validation?: string;
  readonly validationFraction?: number;
  readonly recipe?: string;
  readonly steps?: number;
  readonly epochs?: number;
  readonly rows?: number;
  readonly length?: number;
  readonly accumulate?: number;
  readonly lr?: number;
  readonly seed?: number;
  readonly remat?: 'none' | 'cheap' | 'layers';
  readonly out?: string;
  readonly resume?: string;
  readonly dryRun?: boolean;
  readonly executor: string;
  readonly threads?: number;
}

export function trainCommand(environment: Environment): Command {
  const command = new Command('train')
    .description('Train a model: fine-tune an imported one, or from scratch as a configuration says.')
    .option('--config <file>', 'a configuration as JSON; flags change it')
    .option('--model <model>', 'an imported .qvr file, or a checkpoint that can be imported')
    .option('--data <files...>', 'text or JSONL: {"text"}, {"prompt", "completion"} or {"messages"} on each line')
    .option('--validation <file>', 'data to measure the loss on')
    .option(
      '--validation-fraction <share>',
      'hold back this share of the data instead (default: 0.05, of one example nothing)',
      fraction,
    )
    .option('--recipe <name|file>', `a built-in recipe, or a JSON file (default: ${defaultRecipe})`)
    .option('--steps <count>', 'optimizer steps', positiveInteger)
    .option(
      '--epochs <count>',
      'end after so many passes over the data, if --steps are not done before',
      positiveInteger,
    )
    .option('--rows <count>', 'rows of a micro-batch (default: 4)', positiveInteger)
    .option('--length <tokens>', 'tokens of a row (default: 512, or the context of the model)', positiveInteger)
    .option('--accumulate <count>', 'micro-batches of a step (default: 1)', positiveInteger)
    .option('--lr <rate>', 'the largest learning rate (default: 1e-4)', positiveNumber)
    .option('--seed <n>', 'of the order of the data (default: 0)', nonNegativeInteger)
    .addOption(
      new Option(
        '--remat <policy>',
        'what the backward pass computes again instead of keeping (default: none)',
      ).choices(['none', 'cheap', 'layers']),
    )
    .option('--out <folder>', 'where the run keeps its records, checkpoints and model')
    .option('--resume <folder>', 'go on from the latest checkpoint of a run, to the steps that it was started with')
    .option('--dry-run', 'print the memory that the run will take, and end; nothing is loaded or written')
    .option('--executor <id>', 'what runs the graph: cpu, reference, a file (./mine.js) or a package', 'cpu')
    .option('--threads <count>', 'how many threads compute (default: QUAVER_THREADS, or every CPU)', positiveInteger);
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver train --model model.qvr --data data.jsonl --recipe fp8-block --steps 500 --out runs/a
  quaver train --config tiny.json --out runs/tiny
  quaver train --resume runs/a
  quaver compare runs/a runs/b -o report.html

Ctrl-C stops after the step that is under way, with a checkpoint. The folder holds config.json, metrics.jsonl, events for
TensorBoard, checkpoints/, report.html and, in the end, model.qvr.`,
    )
    .action((flags: TrainFlags) => train(new Run(environment, flags), flags));
}

async function train(run: Run, flags: TrainFlags): Promise<void> {
  const { config, folder } = await chooseRun(flags);
  if (flags.dryRun) {
    const { executor, threads } = flags;
    const plan = await planTraining({
      config,
      executor,
      signal: run.signal,
      ...(threads === undefined ? {} : { threads }),
    });
    run.result(plan, () => describePlan(plan, config));
    return;
  }
  const result = await trainNoting(run, flags, config, folder).catch((error) => {
    if (!isUnaskedSplit(error, flags)) throw error;
    run.note('The data is one example: nothing is held back for validation.');
    return trainNoting(run, flags, withoutValidation(config), folder);
  });
  run.result({ ...result, folder }, () => {
    const losses = [
      `loss ${text(result.loss)}`,
      ...(result.val_loss === null
        ? []
        : [`validation loss ${text(result.val_loss)} (before: ${text(result.val_loss_before)})`]),
    ];
    const skipped =
      result.skipped_steps > 0 ? `\n${result.skipped_steps} steps were skipped: their gradient was not finite.` : '';
    const early = {
      steps: '',
      epochs: ` (${config.epochs} ${config.epochs === 1 ? 'pass' : 'passes'} over the data)`,
      'early-stop': ' (the validation loss did not fall any more)',
    }[result.ended];
    return [
      `${result.steps} steps${early}, ${losses.join(', ')}, ${result.tokens_per_s.toFixed(0)} tokens/s`,
      `${result.model}: the trained model\n${path.join(folder, 'report.html')}: the report${skipped}`,
    ].join('\n');
  });
}

/** Trains, and tells what happens meanwhile. */
async function trainNoting(
  run: Run,
  { resume, executor, threads }: TrainFlags,
  config: TrainConfig,
  folder: string,
): Promise<TrainModelResult> {
  let savedAt: number | undefined;
  return trainModel({
    config,
    folder,
    resume: resume !== undefined,
    executor,
    signal: run.signal,
    ...(threads === undefined ? {} : { threads }),
    onEvent: (event) => {
      if (event.phase === 'checkpoint' && event.folder !== undefined) savedAt = event.step;
      showEvent(run, event);
    },
  }).catch((error) => {
    if (run.signal.aborted && savedAt !== undefined) {
      run.note(`Stopped after step ${savedAt}; to go on: quaver train --resume ${folder}`);
    }
    throw error;
  });
}

/** Whether a split failed that is only the default. */
function isUnaskedSplit(error: unknown, { config, resume, validationFraction }: TrainFlags): boolean {
  const isDefault = config === undefined && resume === undefined && validationFraction === undefined;
  return isDefault && error instanceof QuaverError && error.code === 'validation-split-impossible';
}

function withoutValidation({ evaluate: _, data, ...config }: TrainConfig): TrainConfig {
  return { ...config, data: { ...data, validation: undefined } as TrainConfig['data'] };
}

function describePlan({ items, total, activations }: TrainingPlan, { remat }: TrainConfig): string {
  const memory = [
    ...items.map(({ what, bytes }) => [what, formatBytes(bytes)]),
    ['peak of resident memory', formatBytes(total)],
  ];
  const policies = Object.entries(activations).map(([policy, bytes]) => {
    const share = `${Math.round((100 * bytes) / activations.none)} %`;
    return [`${policy}${policy === remat ? ' (this run)' : ''}`, formatBytes(bytes), share];
  });
  return [
    formatTable(['memory', 'size'], memory, [1]),
    '',
    formatTable(['--remat', 'activations and workspace', 'of none'], policies, [1, 2]),
  ].join('\n');
}

/** What a run is started with, and goes on with. */
const startFlags = [
  ...(['config', 'model', 'data', 'validation', 'validationFraction', 'recipe', 'steps', 'epochs'] as const),
  ...(['rows', 'length', 'accumulate', 'lr', 'seed', 'remat', 'out'] as const),
] satisfies (keyof TrainFlags)[];

function flagName(option: string): string {
  return `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What to train, and where. */
async function chooseRun(flags: TrainFlags): Promise<{ readonly config: TrainConfig; readonly folder: string }> {
  if (flags.resume !== undefined) {
    const others = startFlags.filter((name) => flags[name] !== undefined).map(flagName);
    if (others.length > 0) {
      throw new UsageError(
        `--resume goes on as the run was started; it does not go with ${others.join(', ')}`,
        'Start a new run to change it.',
      );
    }
    return { config: await readRunConfig(flags.resume), folder: flags.resume };
  }
  const given = flags.config === undefined ? {} : await readConfigFile(flags.config);
  const recipe = flags.recipe === undefined ? undefined : await readRecipe(flags.recipe);
  const source = fromFlags(given, flags, recipe);
  const config = parseTrainConfig(flags.config === undefined ? await withLength(source) : source);
  const folder =
    flags.out ?? (flags.config === undefined ? undefined : path.join('runs', path.parse(flags.config).name));
  if (folder === undefined) throw new UsageError('--out is missing', 'Name the folder that the run shall write.');
  return { config, folder };
}

function showEvent(run: Run, event: TrainEvent): void {
  if (event.phase === 'load') run.progress.update('Loading', event.loadedBytes, event.totalBytes);
  else if (event.phase === 'index') run.progress.update('Reading the data', event.doneBytes, event.totalBytes);
  else if (event.phase === 'step') {
    const { record, steps, secondsLeft } = event;
    const { step, loss, grad_norm: norm, tokens_per_s: speed } = record;
    const numbers = `step ${step} of ${steps}, loss ${text(loss)}, gradient norm ${norm.toPrecision(3)}`;
    const speeds = `${speed.toFixed(0)} tokens/s, ${formatDuration(1000 * secondsLeft)} left`;
    run.progress.update('Training', step, steps, `${numbers}, ${speeds}`);
  } else if (event.phase === 'evaluate' && event.loss !== undefined) {
    run.note(`step ${event.step}: validation loss ${text(event.loss)}`);
  } else if (event.phase === 'checkpoint' && event.folder !== undefined) {
    run.note(`step ${event.step}: ${event.folder}`);
  }
}

function text(loss: number | null): string {
  return loss === null ? '–' : loss.toFixed(4);
}
