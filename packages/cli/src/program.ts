import { Command } from 'commander';
import { compareCommand } from './commands/compare.ts';
import { compileCommand } from './commands/compile.ts';
import { conformanceCommand } from './commands/conformance.ts';
import { doctorCommand } from './commands/doctor.ts';
import { evalCommand } from './commands/eval.ts';
import { exportCommand } from './commands/export.ts';
import { generateCommand } from './commands/generate.ts';
import { importCommand } from './commands/import.ts';
import { inspectCommand } from './commands/inspect.ts';
import { parityCommand } from './commands/parity.ts';
import { pullCommand } from './commands/pull.ts';
import { rlCommand } from './commands/rl/rl.ts';
import { trainCommand } from './commands/train.ts';
import type { Environment } from './run.ts';
import { version } from './version.ts';

export function buildProgram(environment: Environment): Command {
  const program = new Command('quaver')
    .description('Compiles language models to FP8 graphs, generates text from them, and trains them.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .addHelpText(
      'after',
      `
From a model to text:
  quaver pull smollm2-135m-instruct
  quaver import PATH -o model.qvr
  quaver compile model.qvr --recipe fp8-block -o model.fp8.qvr
  quaver generate model.fp8.qvr --chat --prompt "What is a quaver?"

Exit codes: 0 success, 1 failure, 2 wrong command line, 130 stopped by Ctrl-C.`,
    );
  const commands = [
    pullCommand,
    importCommand,
    compileCommand,
    inspectCommand,
    generateCommand,
    evalCommand,
    parityCommand,
    trainCommand,
    compareCommand,
    rlCommand,
    conformanceCommand,
    exportCommand,
    doctorCommand,
  ];
  for (const command of commands) program.addCommand(command(environment));
  configure(program);
  return program;
}

/** Makes commander throw instead of exit and print: errors are reported in one place. */
function configure(command: Command): void {
  command
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeErr: () => undefined });
  for (const child of command.commands) configure(child);
}

/** `quaver eval perplexity` for `eval perplexity model.qvr`: the command that a hint about usage names. */
export function commandPath(program: Command, args: readonly string[]): string {
  const path = [program.name()];
  let command = program;
  for (const arg of args) {
    const child = command.commands.find((item) => item.name() === arg);
    if (!child) break;
    path.push(child.name());
    command = child;
  }
  return path.join(' ');
}
