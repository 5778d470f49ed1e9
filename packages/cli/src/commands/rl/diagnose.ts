import type { Diagnosis } from '@quaver/rl';
import { diagnoseModel } from '@quaver/sdk/node';
import { Command, Option } from 'commander';
import { openModel } from '../../model-file.ts';
import { readRecipe } from '../../model-flags.ts';
import { readText } from '../../read-text.ts';
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
  const { tokens, mode, executor, generationExecutor, threads } = flags;
  const text = await readText(flags.text);
  const recipe = flags.recipe === undefined ? undefined : await readRecipe(flags.recipe);
  await using module = await openModel(run, file);
  const diagnosis = await diagnoseModel(module, {
    ...{ text, tokens, mode, executor, signal: run.signal },
    ...(recipe === undefined ? {} : { recipe }),
    ...(generationExecutor === undefined ? {} : { generationExecutor }),
    ...(threads === undefined ? {} : { threads }),
  });
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
