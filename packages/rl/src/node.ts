export { type RlRunOptions, readRlConfig, readRlRecords, rlRun } from './node/rl-run.ts';
export { type TaskSpec, tasks } from './tasks/node/open-environment.ts';
export { openTask } from './tasks/node/open-task.ts';
export { parseTask } from './tasks/node/parse-task.ts';
