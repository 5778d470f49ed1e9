import { evaluatePerplexity, openSession } from '@quaver/sdk/node';
import { Command } from 'commander';
import { openModel } from '../model-file.ts';
import { type ModelFlags, sessionFlags, withModelFlags } from '../model-flags.ts';
import { readText } from '../read-text.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatCount, formatDuration } from '../terminal/units.ts';
import { positiveInteger } from '../values.ts';

interface PerplexityFlags extends OutputFlags, ModelFlags {
  readonly text: string;
  readonly window?: number;
}

export function evalCommand(environment: Environment): Command {
  const perplexity = new Command('perplexity')
    .description('Perplexity of a text under the model: exp of the mean negative log-likelihood per token.')
    .argument('<model>', 'a .qvr file')
    .requiredOption('--text <file>', 'the text to score')
    .option(
      '--window <tokens>',
      'tokens per window; windows do not overlap (default: 2048 or the context)',
      positiveInteger,
    );
  withOutputFlags(withModelFlags(perplexity))
    .addHelpText(
      'after',
      `
Examples:
  quaver eval perplexity model.fp8.qvr --text prose.txt --json
  quaver eval perplexity model.qvr --text prose.txt --recipe bf16    # the baseline, compiled in memory
  quaver eval perplexity model.fp8.qvr --text prose.txt --threads 4

With --json: tokens (predicted), perplexity, nll (natural log), recipe, executor.`,
    )
    .action((model: string, flags: PerplexityFlags) => evaluate(new Run(environment, flags), model, flags));
  return new Command('eval').description('Measure how well a model predicts a text.').addCommand(perplexity);
}

async function evaluate(run: Run, file: string, flags: PerplexityFlags): Promise<void> {
  const text = await readText(flags.text);
  await using module = await openModel(run, file);
  await using model = await openSession(module, {
    ...(await sessionFlags(run, module, flags)),
    functions: ['score'],
  });
  const started = performance.now();
  const { tokens, perplexity, nll } = await evaluatePerplexity(model, text, {
    signal: run.signal,
    onProgress: ({ scoredTokens, totalTokens }) => run.progress.update('Scoring', scoredTokens, totalTokens),
    ...(flags.window === undefined ? {} : { window: flags.window }),
  });
  const recipe = model.recipe.name;
  const executor = model.executor.id;
  run.result({ tokens, perplexity, nll, recipe, executor }, () =>
    [
      `perplexity ${perplexity.toFixed(4)}  (nll ${nll.toFixed(6)} per token, ${formatCount(tokens)} tokens)`,
      `${recipe} on ${executor}, ${formatDuration(performance.now() - started)}`,
    ].join('\n'),
  );
}
