// Computes something on the CPU executor, and prints as JSON which engine did it and what was said about that.
import { GraphBuilder } from '@quaver/ir';
import { openExecutor, openSession } from '@quaver/sdk/node';

const warnings = [];
process.on('warning', ({ code, message }) => warnings.push({ code, message }));

const g = new GraphBuilder('main');
const x = g.input('x', 'f32', [2]);
g.output('y', g.op('add', [x, x]));
const module = {
  name: 'm',
  symbols: [],
  parameters: [],
  states: [],
  functions: [g.finish()],
  metadata: {},
  attachments: new Map(),
};
const executor = await openExecutor('cpu');
const { session } = await openSession(module, { executor, recipe: 'f32' });
const { y } = await session.run('main', { x: { type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(1, 2) } });
if (y.data[1] !== 4) throw new Error(`2 + 2 is ${y.data[1]}`);
await session[Symbol.asyncDispose]();
await executor[Symbol.asyncDispose]();
console.log(JSON.stringify({ ...executor.device, warnings, node: process.versions.node }));
