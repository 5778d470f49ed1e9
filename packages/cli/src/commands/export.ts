import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import {
  exportHfBf16,
  exportHfFp8,
  isCompiled,
  type Module,
  openCheckpointModel,
  saveModule,
  type WhichCheckpoint,
} from '@quaver/sdk/node';
import { Command, Option } from 'commander';
import { openModel } from '../model-file.ts';
import { checkOutput } from '../output-path.ts';
import { UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatBytes } from '../terminal/units.ts';
import { checkpoint } from '../values.ts';

interface ExportFlags extends OutputFlags {
  readonly output: string;
  readonly format?: 'hf-fp8' | 'hf-bf16';
  readonly checkpoint?: WhichCheckpoint;
}

export function exportCommand(environment: Environment): Command {
  const command = new Command('export')
    .description('Write a model as a Hugging Face folder, in FP8 blocks or in BF16, which vLLM and transformers read.')
    .argument(
      '<model>',
      'a .qvr file: imported, trained, or compiled with fp8-block or fp8-block-f32; with --checkpoint, the folder of a run',
    )
    .addOption(
      new Option(
        '--format <format>',
        'hf-fp8: E4M3 weights with block scales; hf-bf16: of an imported or trained model (default: hf-fp8)',
      ).choices(['hf-fp8', 'hf-bf16']),
    )
    .option('--checkpoint <which>', 'a checkpoint of the run: best, latest or a step', checkpoint)
    .requiredOption('-o, --output <path>', 'the folder to make, or of a checkpoint the .qvr file to write');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver export model.fp8.qvr -o model-fp8/
  quaver export runs/a/model.qvr --format hf-bf16 -o model-bf16/
  quaver export runs/a --checkpoint best -o best.qvr
  vllm serve ./model-fp8

A model that is not compiled is compiled with fp8-block in memory for hf-fp8. For hf-bf16 it must not be compiled: its weights
are rounded once, to nearest even, from what was imported or trained. A checkpoint goes into a .qvr file, with its f32 masters, where
the output has that name and no --format is given.`,
    )
    .action((model: string, flags: ExportFlags) => exportModel(new Run(environment, flags), model, flags));
}

async function exportModel(run: Run, model: string, flags: ExportFlags): Promise<void> {
  const { output, checkpoint: which, format } = flags;
  if (which === undefined) {
    if (existsSync(path.join(model, 'checkpoints'))) {
      throw new UsageError(`${model} is the folder of a run`, 'Add --checkpoint best, latest or a step.');
    }
    await using module = await openModel(run, model);
    await exportFolder(run, module, model, flags);
    return;
  }
  const isFile = format === undefined && output.endsWith('.qvr');
  if (isFile) await checkOutput(output);
  await using opened = await openCheckpointModel(model, which, { signal: run.signal });
  run.note(`The checkpoint of step ${opened.step}`);
  if (isFile) await writeQvr(run, opened.module, output, opened.step);
  else await exportFolder(run, opened.module, model, flags);
}

async function exportFolder(run: Run, module: Module, source: string, { output, format }: ExportFlags): Promise<void> {
  if (format === 'hf-bf16') await exportBf16(run, module, output);
  else await exportFp8(run, module, source, output);
}

async function writeQvr(run: Run, module: Module, output: string, step: number): Promise<void> {
  await saveModule(module, output, {
    signal: run.signal,
    onProgress: ({ bytes, totalBytes }) => run.progress.update('Exporting', bytes, totalBytes),
  });
  const { size } = await stat(output);
  run.result({ path: output, format: 'qvr', step, bytes: size }, () => `${output}: step ${step}, ${formatBytes(size)}`);
}

async function exportBf16(run: Run, module: Module, output: string): Promise<void> {
  const { tensors, rounded } = await exportHfBf16(module, output, progressOf(run));
  run.result(
    { path: output, format: 'hf-bf16', tensors, rounded_tensors: rounded },
    () => `${output}: ${tensors} tensors in BF16${rounded > 0 ? `, ${rounded} of them rounded to it` : ''}`,
  );
}

async function exportFp8(run: Run, module: Module, file: string, output: string): Promise<void> {
  const { fp8Weights, requantizedWeights, otherTensors } = await exportHfFp8(module, output, progressOf(run));
  const counts = { fp8_weights: fp8Weights, requantized_weights: requantizedWeights, other_tensors: otherTensors };
  run.result({ path: output, format: 'hf-fp8', ...counts }, () => {
    const kept = isCompiled(module) ? `are BF16 in ${file}` : 'stay BF16 in fp8-block';
    const requantized = `; ${requantizedWeights} of the FP8 ones ${kept}, and were quantized because serving engines fuse them with FP8 ones`;
    return `${output}: ${fp8Weights} weights in FP8, ${otherTensors} other tensors${requantizedWeights > 0 ? requantized : ''}`;
  });
}

function progressOf(run: Run) {
  return {
    signal: run.signal,
    onProgress: (done: number, total: number) => run.progress.update('Exporting', done, total),
  };
}
