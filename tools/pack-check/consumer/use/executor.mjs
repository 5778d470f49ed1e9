import { referencePlugin, Session } from '@quaver/executor';
import { parseModule } from '@quaver/ir';
import { expected, firstOfRows, inputs, text } from './ir.mjs';

/** Runs the module of the ir example in a session on the executor that `plugin` opens. */
export async function runOn(plugin) {
  const executor = await plugin.open();
  const session = await Session.open(parseModule(text), executor);
  const results = firstOfRows(await session.run('main', inputs()));
  await session[Symbol.asyncDispose]();
  await executor[Symbol.asyncDispose]();
  return results;
}

export default () => runOn(referencePlugin());

export { expected };
