import { writeComparison } from '@quaver/train/node';
import { Command } from 'commander';
import { checkOutput } from '../output-path.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatTable } from '../terminal/table.ts';

interface CompareFlags extends OutputFlags {
  readonly output: string;
}

export function compareCommand(environment: Environment): Command {
  const command = new Command('compare')
    .description('Compare training runs: losses, speed and plots, as one HTML file.')
    .argument('<runs...>', 'folders of runs; the others are compared with the first')
    .option('-o, --output <file>', 'the report to write', 'report.html');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver compare runs/bf16 runs/fp8-block -o report.html
  quaver compare runs/* --json`,
    )
    .action((runs: string[], flags: CompareFlags) => compare(new Run(environment, flags), runs, flags));
}

async function compare(run: Run, folders: readonly string[], { output }: CompareFlags): Promise<void> {
  await checkOutput(output);
  const runs = await writeComparison(folders, output);
  const number = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(4));
  const percent = (value: number | undefined) => (value === undefined ? '–' : `${(100 * value).toFixed(2)} %`);
  run.result({ output, runs }, () => {
    const head = ['run', 'steps', 'loss', 'val_loss', 'to first', 'tokens/s'];
    const rows = runs.map((item, i) => [
      item.name,
      item.steps,
      number(item.loss),
      number(item.valLoss),
      i === 0 ? '–' : percent(item.valLossDifference),
      item.tokensPerSecond.toFixed(0),
    ]);
    return `${formatTable(head, rows, [1, 2, 3, 4, 5])}\n\n${output}: the report`;
  });
}
