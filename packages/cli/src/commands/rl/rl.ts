import { Command } from 'commander';
import type { Environment } from '../../run.ts';
import { rlCompareCommand } from './compare.ts';
import { rlDiagnoseCommand } from './diagnose.ts';
import { rlRunCommand } from './run.ts';

export function rlCommand(environment: Environment): Command {
  return new Command('rl')
    .description('Reinforcement learning: sample, judge, learn, with one set of numbers for generation and training.')
    .addCommand(rlRunCommand(environment))
    .addCommand(rlCompareCommand(environment))
    .addCommand(rlDiagnoseCommand(environment));
}
