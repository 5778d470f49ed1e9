export { openTask } from './node/open-task.ts';
export { type RlRunOptions, readRlConfig, readRlRecords, rlRun } from './node/rl-run.ts';
