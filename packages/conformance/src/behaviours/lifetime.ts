/** @file Out of memory, device loss, and the end of an executor. */
import type { Bindings, Executor } from '@quaver/executor';
import type { ConformanceCase } from '../runner/case.ts';
import { caseFailure } from '../runner/outcome.ts';
import { behaviour } from './behaviour.ts';
import { compileText, downloaded, uploaded } from './direct.ts';
import { expectCode, expectSameBits, f32 } from './expectations.ts';

const text = `quaver 1 opset core@1
module "sum"

func @main(%x: f32[3]) -> (y: f32[3]) {
  %y = add(%x, %x) : f32[3]
  return %y
}
`;

const x = f32([3], [1, 2, 3]);

async function expectUsable(executor: Executor): Promise<void> {
  const program = await compileText(executor, text);
  const [input, output] = [await uploaded(executor, x), executor.allocate(12, 'output')];
  const bindings: Bindings = { symbols: {}, inputs: { x: input }, parameters: {}, states: {}, outputs: { y: output } };
  await executor.wait(executor.submit(program, bindings));
  expectSameBits('a run afterwards', await downloaded(executor, output, x), f32([3], [2, 4, 6]));
  for (const each of [program, input, output]) each.dispose();
}

async function isLost(executor: Executor): Promise<boolean> {
  const soon = new Promise<false>((resolve) => setTimeout(() => resolve(false), 5));
  return Promise.race([executor.lost.then(() => true), soon]);
}

export const lifetimeCases: readonly ConformanceCase[] = [
  behaviour('out of memory', async ({ plugin, options }) => {
    await using executor = await plugin.open(options);
    const { maxBufferBytes, maxTotalBytes } = executor.capabilities;
    const tooMany = [maxBufferBytes + 1, maxTotalBytes + 1, Number.MAX_SAFE_INTEGER].filter(Number.isSafeInteger);
    for (const byteLength of tooMany) {
      await expectCode(`allocate(${byteLength})`, 'executor-out-of-memory', () =>
        executor.allocate(byteLength, 'parameter').dispose(),
      );
      await expectUsable(executor);
    }
  }),
  behaviour('device loss/a healthy device is not lost', async ({ plugin, options }) => {
    const executor = await plugin.open(options);
    await expectUsable(executor);
    if (await isLost(executor)) throw caseFailure('`lost` has settled although the device works');
    await executor[Symbol.asyncDispose]();
    if (await isLost(executor)) throw caseFailure('`lost` has settled although the executor was only disposed of');
  }),
  behaviour('disposed executor', async ({ plugin, options }) => {
    const executor = await plugin.open(options);
    const program = await compileText(executor, text);
    const [input, output] = [await uploaded(executor, x), executor.allocate(12, 'output')];
    const states = { symbols: {}, parameters: {}, states: {} };
    const bindings: Bindings = { ...states, inputs: { x: input }, outputs: { y: output } };
    const last = executor.submit(program, bindings);
    const end = executor[Symbol.asyncDispose]();
    await executor.wait(last);
    await end;
    await expectCode('submit()', 'executor-disposed', () => executor.wait(executor.submit(program, bindings)));
    await expectCode('allocate()', 'executor-disposed', () => executor.allocate(4, 'input'));
    await expectCode('compile()', 'executor-disposed', () => compileText(executor, text));
  }),
];
