import { type GenerateResult, generateText, type ModelSession, openSession, type TextRequest } from '@quaver/sdk/node';
import { Command } from 'commander';
import { openModel } from '../model-file.ts';
import { type ModelFlags, sessionFlags, withModelFlags } from '../model-flags.ts';
import { readStream, readText } from '../read-text.ts';
import { UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { keepHeapSmall } from '../small-heap.ts';
import { collect, fraction, nonNegativeInteger, nonNegativeNumber, positiveNumber, share } from '../values.ts';

interface GenerateFlags extends OutputFlags, ModelFlags {
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly chat?: true;
  readonly system?: string;
  readonly maxNewTokens: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
}

export function generateCommand(environment: Environment): Command {
  const command = new Command('generate')
    .description('Generate text from a model; it streams to standard output.')
    .argument('<model>', 'a .qvr file')
    .option('-p, --prompt <text>', 'the text to continue; - reads it from standard input')
    .option('--prompt-file <file>', 'read the prompt from a file')
    .option('--chat', "take the prompt as a user's message and answer it, by the model's chat template")
    .option('--system <text>', 'the system message of the chat')
    .option('-n, --max-new-tokens <count>', 'stop after so many tokens', nonNegativeInteger, 256)
    .option('--temperature <t>', '0 is greedy, 1 the distribution of the model (default: 0)', nonNegativeNumber)
    .option('--top-k <k>', 'sample from the k most probable tokens; 0 is off', nonNegativeInteger)
    .option('--top-p <p>', 'sample from the most probable tokens that reach p together', share)
    .option('--min-p <p>', 'leave out tokens less probable than p times the most probable one', fraction)
    .option('--repetition-penalty <x>', 'make tokens that were used less probable; 1 is off', positiveNumber)
    .option('--seed <n>', 'the same seed gives the same text (default: 0)', nonNegativeInteger)
    .option('--stop <text>', 'end before this text; may be given several times', collect);
  return withOutputFlags(withModelFlags(command))
    .addHelpText(
      'after',
      `
Examples:
  quaver generate model.fp8.qvr --prompt "Once upon a time" --max-new-tokens 64
  quaver generate model.fp8.qvr --chat --system "Be brief." --prompt "Why is the sky blue?" --temperature 0.7 --top-p 0.9 --seed 1
  cat question.txt | quaver generate model.fp8.qvr --chat --prompt - --json
  quaver generate model.fp8.qvr --prompt "Once upon a time" --threads 4

With --json: text, tokens, logprobs (natural logs under the model), stop_reason (eos, stop_string, max_new_tokens or
context), prefill_tokens_per_s, decode_tokens_per_s, executor, recipe.`,
    )
    .action((model: string, flags: GenerateFlags) => generate(new Run(environment, flags), model, flags));
}

async function generate(run: Run, file: string, flags: GenerateFlags): Promise<void> {
  if (flags.executor === 'cpu') keepHeapSmall();
  const request = { ...(await textPrompt(run, flags)), ...decoding(flags), signal: run.signal };
  warnAboutGreedy(run, flags);
  await using module = await openModel(run, file);
  await using model = await openSession(module, {
    ...(await sessionFlags(run, module, flags)),
    functions: ['prefill', 'decode'],
  });
  const result = await stream(run, model, request);
  const rate = (value: number) => `${value.toPrecision(3)} tokens/s`;
  const { promptTokens, tokens, prefillTokensPerSecond, decodeTokensPerSecond } = result;
  run.result(
    {
      text: result.text,
      tokens,
      logprobs: result.logprobs,
      stop_reason: result.stopReason,
      prefill_tokens_per_s: prefillTokensPerSecond,
      decode_tokens_per_s: decodeTokensPerSecond,
      executor: model.executor.id,
      recipe: model.recipe.name,
    },
    () => '\n',
  );
  run.note(
    `${promptTokens} tokens in, ${tokens.length} out (${result.stopReason}); prefill ${rate(prefillTokensPerSecond)}, ` +
      `decode ${rate(decodeTokensPerSecond)}; ${model.recipe.name} on ${model.executor.id}`,
  );
}

/** Writes the text as it becomes certain, and gives the result. */
async function stream(run: Run, model: ModelSession, request: TextRequest): Promise<GenerateResult> {
  for await (const event of generateText(model, request)) {
    switch (event.type) {
      case 'prefill':
        run.progress.update('Reading the prompt', event.processedTokens, event.totalTokens);
        break;
      case 'token':
        run.write(event.text);
        break;
      case 'end':
        return event;
    }
  }
  throw new Error('the generation ended without a result');
}

async function textPrompt(run: Run, flags: GenerateFlags) {
  const { prompt, promptFile, chat, system } = flags;
  if ((prompt === undefined) === (promptFile === undefined)) {
    throw new UsageError('give either --prompt or --prompt-file', 'For example: --prompt "Once upon a time".');
  }
  if (system !== undefined && !chat) throw new UsageError('--system goes with --chat');
  const text =
    promptFile !== undefined
      ? await readText(promptFile)
      : prompt === '-'
        ? await readStream(run.stdin, 'standard input')
        : prompt!;
  if (!chat) return { prompt: text };
  const user = { role: 'user', content: text } as const;
  return { messages: system === undefined ? [user] : [{ role: 'system', content: system } as const, user] };
}

const samplingFlags = ['temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'seed', 'stop'] as const;

function decoding(flags: GenerateFlags): Omit<TextRequest, 'prompt' | 'messages'> {
  const given = samplingFlags.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]);
  return { ...Object.fromEntries(given), maxNewTokens: flags.maxNewTokens };
}

function warnAboutGreedy(run: Run, { temperature = 0, topK, topP, minP, seed }: GenerateFlags): void {
  if (temperature > 0 || [topK, topP, minP, seed].every((value) => value === undefined)) return;
  run.note('Note: at temperature 0 the most probable token is taken, so the other sampling options change nothing.');
}
