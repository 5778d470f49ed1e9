import { Tokenizer } from '@quaver/generate';
import { type Diagnosis, diagnose } from '@quaver/rl';
import { compileModel, isCompiled, openExecutor } from '@quaver/sdk/node';
import { Command, Option } from 'commander';
import { openModel } from '../../model-file.ts';
import { readRecipe } from '../../model-flags.ts';
import { readText } from '../../read-text.ts';
import { UsageError } from '../../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../../run.ts';
import { formatTable } from '../../terminal/table.ts';
import { positiveInteger } from '../../values.ts';

interface DiagnoseFlags extends OutputFlags {
  readonly text: string;
  readonly tokens: number;
  readonly recipe?: string;
  readonly mode: 'unified' | 'split';
  readonly executor: string;
  readonly generationExecutor?: string;
  readonly threads?: number;
}

export function rlDiagnoseCommand(environment: Environment): Command {
  const command = new Command('diagnose')
    .description('Name the first node at which generation and training differ, and by how much.')
    .argument('<model>', 'a .qvr file')
    .requiredOption('--text <file>', 'the text that goes through both')
    .option('--tokens <count>', 'how many of its tokens', positiveInteger, 128)
    .option('--recipe <name|file>', 'compile the imported model with this recipe')
    .addOption(
      new Option('--mode <mode>', 'split: generation adds in any order, as other engines do')
        .choices(['unified', 'split'])
        .default('unified'),
    )
    .option('--executor <id>', 'what trains, and generates unless another one does', 'cpu')
    .option('--generation-executor <id>', 'what generates: an id, a file (./mine.js) or a package')
    .option('--threads <count>', 'how many threads compute (default: QUAVER_THREADS, or every CPU)', positiveInteger);
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver rl diagnose model.fp8.qvr --text prose.txt
  quaver rl diagnose model.qvr --recipe fp8-generate-only --text prose.txt
  quaver rl diagnose model.fp8.qvr --text prose.txt --mode split --json

With --json: compared_nodes, and different_nodes in the order of the graph, with location, generation_op, training_op,
first_position, elements, different_elements, max_abs_diff, max_abs_value.`,
    )
    .action((model: string, flags: DiagnoseFlags) => run(new Run(environment, flags), model, flags));
}

async function run(run: Run, file: string, flags: DiagnoseFlags): Promise<void> {
  const { signal } = run;
  const text = await readText(flags.text);
  await using source = await openModel(run, file);
  if (isCompiled(source) && flags.recipe !== undefined) {
    throw new UsageError('the model is compiled already', 'Leave --recipe out, or give the imported model.');
  }
  const tokens = (await Tokenizer.fromModule(source)).encode(text).slice(0, flags.tokens + 1);
  const module = isCompiled(source)
    ? source
    : (await compileModel(source, { recipe: await readRecipe(flags.recipe ?? 'bf16'), signal })).module;
  const options = { signal, ...(flags.threads === undefined ? {} : { threads: flags.threads }) };
  const fast = flags.mode === 'split' ? { reduction: 'fast' as const } : {};
  await using training = await openExecutor(flags.executor, options);
  await using generation = await openExecutor(flags.generationExecutor ?? flags.executor, { ...options, ...fast });
  const diagnosis = await diagnose({ module, generation, training, tokens, signal });
  run.result(diagnosis, () => describe(diagnosis));
}

function describe({ compared_nodes: compared, different_nodes: different }: Diagnosis): string {
  const [first] = different;
  if (!first) return `The same bits in all of ${compared} values of generation and training.`;
  const rows = different.map((node) => [
    ...[node.location, node.generation_op, node.training_op, node.first_position],
    ...[`${node.different_elements} / ${node.elements}`, node.max_abs_diff.toExponential(2)],
    node.max_abs_value.toExponential(2),
  ]);
  const head = ['node', 'in generation', 'in training', 'first position', 'different', 'max |Δ|', 'max |value|'];
  return [
    formatTable(head, rows, [3, 4, 5, 6]),
    '',
    `${different.length} of ${compared} values differ; it begins at ${first.location} (${first.generation_op}), position ${first.first_position}.`,
  ].join('\n');
}
