import { cpuPlugin } from '@quaver/executor-cpu';
import { runOn } from './executor.mjs';

export { expected } from './ir.mjs';

export default () => runOn(cpuPlugin);
