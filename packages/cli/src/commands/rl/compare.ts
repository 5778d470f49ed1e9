import path from 'node:path';
import { parseRlConfig, type RlRow } from '@quaver/rl';
import { compareRl } from '@quaver/sdk/node';
import { Command } from 'commander';
import { checkOutput } from '../../output-path.ts';
import { UsageError } from '../../report-error.ts';
import { readRlConfigFile } from '../../rl-config.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../../run.ts';
import { formatTable } from '../../terminal/table.ts';
import { nonNegativeInteger, positiveInteger } from '../../values.ts';
import { RlView } from './view.ts';

interface RlCompareFlags extends OutputFlags {
  readonly config: string;
  readonly recipes: string;
  readonly modes: string;
  readonly seeds: number;
  readonly seed?: number;
  readonly steps?: number;
  readonly out?: string;
  readonly output: string;
  readonly executor: string;
  readonly threads?: number;
}

export function rlCompareCommand(environment: Environment): Command {
  const command = new Command('compare')
    .description('Run the same task with several recipes, and show them side by side.')
    .requiredOption('--config <file>', 'a configuration as JSON')
    .option(
      '--recipes <names>',
      'recipes with commas; fp8-block+kv-cache=fp8 is one with an FP8 cache',
      'bf16,fp8-generate-only,fp8-block',
    )
    .option('--modes <modes>', 'unified, split or both, with commas', 'unified,split')
    .option('--seeds <count>', 'runs of each recipe and mode, with seeds one after another', positiveInteger, 1)
    .option('--seed <n>', 'the first seed (default: that of the configuration)', nonNegativeInteger)
    .option('--steps <count>', 'batches of rollouts to learn from', positiveInteger)
    .option('--out <folder>', 'where the runs keep their files; runs that are there are gone on with')
    .option('-o, --output <file>', 'the report to write', 'report.html')
    .option('--executor <id>', 'what runs the graph: cpu, reference, a file (./mine.js) or a package', 'cpu')
    .option('--threads <count>', 'how many threads compute (default: QUAVER_THREADS, or every CPU)', positiveInteger);
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver rl compare --config examples/rl/arithmetic.json --seeds 3 -o report.html
  quaver rl compare --config examples/rl/arithmetic.json --recipes bf16,fp8-block --modes unified --json

With --json: tokens, and rows with recipe, mode, seed, token_mult_prob_error, gen_kl_error, mismatched_tokens,
heldout_accuracy, reward, step_seconds, rollout_tokens_per_s, train_tokens_per_s, bytes_per_parameter.`,
    )
    .action((flags: RlCompareFlags) => compare(new Run(environment, flags), flags));
}

async function compare(run: Run, flags: RlCompareFlags): Promise<void> {
  const { output, steps, threads, executor } = flags;
  await checkOutput(output);
  const source = await readRlConfigFile(flags.config);
  const config = parseRlConfig(steps === undefined ? source : { ...source, steps });
  const first = flags.seed ?? config.seed;
  const view = new RlView(run);
  const comparison = await compareRl({
    config,
    recipes: list('--recipes', flags.recipes),
    modes: list('--modes', flags.modes).map(modeOf),
    seeds: Array.from({ length: flags.seeds }, (_, i) => first + i),
    folder: flags.out ?? path.join('runs', `${path.parse(flags.config).name}-compared`),
    output,
    executor,
    signal: run.signal,
    ...(threads === undefined ? {} : { threads }),
    onEvent: (event, name) => view.show(event, name),
  });
  run.result(comparison, () => `${table(comparison.rows)}\n\n${output}: the report`);
}

function list(flag: string, text: string): string[] {
  const items = text.split(',').filter(Boolean);
  if (items.length === 0) throw new UsageError(`${flag} is empty`, 'Give names with commas between them.');
  return [...new Set(items)];
}

function modeOf(text: string): 'unified' | 'split' {
  if (text === 'unified' || text === 'split') return text;
  throw new UsageError(`--modes: there is no mode '${text}'`, 'Choose unified, split, or both with a comma.');
}

function table(rows: readonly RlRow[]): string {
  const head = [
    ...['recipe', 'mode', 'seed', 'mult. prob. error', 'KL error', 'mismatched', 'held-out', 'reward'],
    ...['s/step', 'rollout tok/s', 'train tok/s', 'bytes/param'],
  ];
  const cells = rows.map((row) => [
    ...[row.recipe, row.mode, row.seed, row.token_mult_prob_error?.toPrecision(8).replace(/\.?0+$/, '') ?? '–'],
    ...[row.gen_kl_error === null ? '–' : row.gen_kl_error === 0 ? '0' : row.gen_kl_error.toExponential(2)],
    ...[row.mismatched_tokens, row.heldout_accuracy === null ? '–' : `${(100 * row.heldout_accuracy).toFixed(1)} %`],
    ...[row.reward.toFixed(3), row.step_seconds.toFixed(2), row.rollout_tokens_per_s.toFixed(0)],
    ...[row.train_tokens_per_s.toFixed(0), row.bytes_per_parameter.toFixed(2)],
  ]);
  return formatTable(head, cells, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
}
