import { checkParity, type ParityReport } from '@quaver/sdk/node';
import { Command } from 'commander';
import { openModel } from '../model-file.ts';
import { type ModelFlags, sessionFlags, withModelFlags } from '../model-flags.ts';
import { exitFailure, UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatTable } from '../terminal/table.ts';
import { nonNegativeInteger, positiveInteger } from '../values.ts';

interface ParityFlags extends OutputFlags, ModelFlags {
  readonly tokens?: number;
  readonly seed?: number;
  readonly training: boolean;
}

export function parityCommand(environment: Environment): Command {
  const command = new Command('parity')
    .description(
      'Compare generation with training, bit for bit: decode at several batch sizes, prefill, score, logprobs, training steps.',
    )
    .argument('<model>', 'a .qvr file')
    .option('--tokens <count>', 'sampled tokens to compare in every case (default: 64)', positiveInteger)
    .option('--seed <n>', 'of the sampled sequences (default: 0)', nonNegativeInteger)
    .option(
      '--no-training',
      'leave out the training step, which needs an imported model and memory for its f32 masters',
    );
  return withOutputFlags(withModelFlags(command))
    .addHelpText(
      'after',
      `
Examples:
  quaver parity model.fp8.qvr
  quaver parity model.fp8.qvr --tokens 256 --json
  quaver parity model.qvr --recipe fp8-block       # the forward pass inside of a training step too
  quaver parity model.fp8.qvr --reduction fast     # the mismatch of engines that add in any order

Every case is run with a KV cache in BF16 and in FP8. A training step can be built from an imported model only. Exit code 1 when log-probabilities differ although the recipe
promises that they do not; a recipe with per-tensor scales, or with different phases, promises nothing, and neither
does --reduction fast.`,
    )
    .action((model: string, flags: ParityFlags) => compare(new Run(environment, flags), environment, model, flags));
}

/** The cases that could not be compared, one line for each reason. */
function leftOutText(leftOut: ParityReport['left_out']): string {
  const byReason = new Map<string, Set<string>>();
  for (const { name, reason } of leftOut) byReason.set(reason, (byReason.get(reason) ?? new Set()).add(`'${name}'`));
  return [...byReason].map(([reason, names]) => `\nLeft out: ${[...names].join(', ')}: ${reason}.`).join('');
}

async function compare(run: Run, environment: Environment, file: string, flags: ParityFlags): Promise<void> {
  if (flags.executor === 'null') {
    throw new UsageError('the null executor computes nothing, so it proves nothing', 'Choose cpu or reference.');
  }
  await using module = await openModel(run, file);
  const { onProgress: _, ...session } = await sessionFlags(run, module, flags);
  const { report, promised, why } = await checkParity(module, {
    ...session,
    onProgress: ({ case: name, done, total }) => run.progress.update(name, done, total),
    training: flags.training,
    ...(flags.tokens === undefined ? {} : { tokens: flags.tokens }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
  });
  const equal = report.mismatched_tokens === 0;
  if (!equal && promised) environment.outcome.exitCode = exitFailure;
  run.result(report, () => {
    const head = ['case', 'kv cache', 'tokens', 'mismatched', 'max |Δ logprob|'];
    const rows = report.cases.map((item) => [
      item.name,
      item.kv_cache,
      item.tokens,
      item.mismatched_tokens,
      item.max_abs_logprob_diff === 0 ? '0' : item.max_abs_logprob_diff.toExponential(2),
    ]);
    const verdict = equal
      ? run.style('green', `The same bits in ${report.tokens} log-probabilities.`)
      : `${report.mismatched_tokens} of ${report.tokens} log-probabilities differ.`;
    const promise = promised ? '' : ` Equality is not promised: ${why}.`;
    return `${formatTable(head, rows, [2, 3, 4])}\n\n${verdict}${promise}${leftOutText(report.left_out)}`;
  });
}
