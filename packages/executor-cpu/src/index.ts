export { cpuPlugin } from './cpu-executor.ts';
