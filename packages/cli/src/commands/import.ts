import { stat } from 'node:fs/promises';
import { importModelFile, saveModule } from '@quaver/sdk/node';
import { Command, Option } from 'commander';
import { checkOutput } from '../output-path.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatBytes, formatCount, formatDuration } from '../terminal/units.ts';
import { positiveInteger } from '../values.ts';

interface ImportFlags extends OutputFlags {
  readonly output: string;
  readonly dtype: 'auto' | 'f32' | 'bf16';
  readonly context?: number;
  readonly name?: string;
}

export function importCommand(environment: Environment): Command {
  const command = new Command('import')
    .description('Turn a checkpoint into a module: graph, weights and tokenizer in one .qvr file.')
    .argument('<checkpoint>', 'a checkpoint folder, a .safetensors or .gguf file, or a .qvr file to import again')
    .requiredOption('-o, --output <file>', 'the .qvr file to write')
    .addOption(
      new Option('--dtype <type>', 'how weights are stored; auto keeps the type of the checkpoint')
        .choices(['auto', 'f32', 'bf16'])
        .default('auto'),
    )
    .option('--context <positions>', 'longest sequence; default what the model was made for', positiveInteger)
    .option('--name <name>', 'the name of the module; default from the checkpoint');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver import SmolLM2-135M-Instruct/ -o model.qvr
  quaver import model.Q4_1.gguf --dtype bf16 --context 2048 -o model.qvr
  quaver import model.fp8.qvr -o small.qvr    (not compiled, with the weights that the recipe made)

Known architectures: Llama 2 and 3, SmolLM2, Mistral, Qwen2, Qwen2.5 and Qwen3.`,
    )
    .action((checkpoint: string, flags: ImportFlags) =>
      importCheckpoint(new Run(environment, flags), checkpoint, flags),
    );
}

async function importCheckpoint(run: Run, checkpoint: string, flags: ImportFlags): Promise<void> {
  const { output, dtype, context, name } = flags;
  await checkOutput(output, checkpoint);
  const started = performance.now();
  await using imported = await importModelFile(checkpoint, {
    dtype,
    signal: run.signal,
    ...(context === undefined ? {} : { context }),
    ...(name === undefined ? {} : { name }),
  });
  const { module, unused } = imported;
  await saveModule(module, output, {
    signal: run.signal,
    onProgress: ({ bytes, totalBytes }) => run.progress.update('Importing', bytes, totalBytes),
  });
  const { size } = await stat(output);
  const milliseconds = Math.round(performance.now() - started);
  const elements = module.parameters
    .filter(({ trainable }) => trainable)
    .reduce((sum, { type }) => sum + type.shape.reduce((product, dim) => product * dim, 1), 0);
  const { 'model.family': family = '', 'model.context': positions = '' } = module.metadata;
  for (const tensor of unused) run.note(`Not used by the graph: ${tensor}`);
  run.result(
    {
      path: output,
      bytes: size,
      name: module.name,
      family,
      context: Number(positions),
      parameters: elements,
      tensors: module.parameters.length,
      unused,
      milliseconds,
    },
    () =>
      `${output}: ${module.name}, ${family}, ${formatCount(elements)} parameters, context ${formatCount(Number(positions))}, ` +
      `${formatBytes(size)} in ${formatDuration(milliseconds)}`,
  );
}
