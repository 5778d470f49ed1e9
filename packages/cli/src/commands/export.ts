import { exportHfFp8 } from '@quaver/sdk/node';
import { Command } from 'commander';
import { openModel } from '../model-file.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';

interface ExportFlags extends OutputFlags {
  readonly output: string;
}

export function exportCommand(environment: Environment): Command {
  const command = new Command('export')
    .description(
      'Write a compiled model as a folder in the Hugging Face FP8 block layout, which vLLM and transformers read.',
    )
    .argument('<model>', 'a .qvr file compiled with fp8-block or fp8-block-f32')
    .requiredOption('-o, --output <folder>', 'the folder to make');
  return withOutputFlags(command)
    .addHelpText('after', '\nExamples:\n  quaver export model.fp8.qvr -o model-fp8/\n  vllm serve ./model-fp8')
    .action((model: string, flags: ExportFlags) => exportModel(new Run(environment, flags), model, flags));
}

async function exportModel(run: Run, file: string, { output }: ExportFlags): Promise<void> {
  await using module = await openModel(run, file);
  const { fp8Weights, requantizedWeights, otherTensors } = await exportHfFp8(module, output, {
    signal: run.signal,
    onProgress: (done, total) => run.progress.update('Exporting', done, total),
  });
  run.result(
    { path: output, fp8_weights: fp8Weights, requantized_weights: requantizedWeights, other_tensors: otherTensors },
    () =>
      `${output}: ${fp8Weights} weights in FP8, ${otherTensors} other tensors` +
      (requantizedWeights > 0
        ? `; ${requantizedWeights} of the FP8 ones are BF16 in ${file}, and were quantized because serving engines fuse them with FP8 ones`
        : ''),
  );
}
