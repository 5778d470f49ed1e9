/** @file A signal stops a run before it begins and while it goes on, and the executor can be used afterwards. */
import { type Executor, Session } from '@quaver/executor';
import { GraphBuilder, type HostTensor, type Module, verifyModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { caseFailure, codeOf } from '../runner/outcome.ts';
import { behaviour } from './behaviour.ts';
import { expectCode, expectSameBits } from './expectations.ts';
import { randomTensor } from './random.ts';

const side = 192;

/** `steps` products in a row; small numbers, so that nothing overflows. */
function chain(steps: number): Module {
  const g = new GraphBuilder('main');
  const w = g.input('w', 'f32', [side, side]);
  let y = g.input('x', 'f32', [side, side]);
  for (let i = 0; i < steps; i++) y = g.op('dot_general', [y, w], { lhs_contract: [1], rhs_contract: [1] });
  g.output('y', y);
  const fn = g.finish();
  const rest = { symbols: [], parameters: [], states: [], metadata: {}, attachments: new Map() };
  const module: Module = { name: 'chain', functions: [fn], ...rest };
  verifyModule(module);
  return module;
}

function inputs(): Record<string, HostTensor> {
  const w = randomTensor(1, 'f32', [side, side]);
  for (let i = 0; i < w.data.length; i++) w.data[i] = w.data[i]! / side;
  return { w, x: randomTensor(2, 'f32', [side, side]) };
}

/** A run that takes this long can be stopped in the middle, also on a busy machine; a very fast device gives less. */
const longRunMs = 250;
const firstSteps = 32;
const mostSteps = 8192;
const attempts = 4;

async function longRun(executor: Executor, signal: AbortSignal): Promise<{ session: Session; ms: number }> {
  for (let steps = firstSteps; ; steps *= 2) {
    const session = await Session.open(chain(steps), executor, { signal });
    const started = performance.now();
    await session.run('main', inputs(), { signal });
    const ms = performance.now() - started;
    if (ms >= longRunMs || steps >= mostSteps) return { session, ms };
    await session[Symbol.asyncDispose]();
  }
}

/** Aborts some milliseconds after the start; whether that stopped the run. */
async function stops(session: Session, afterMs: number): Promise<boolean> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), afterMs);
  try {
    await session.run('main', inputs(), { signal: controller.signal });
    return false;
  } catch (error) {
    if (codeOf(error) === 'aborted') return true;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

export const abortCases: readonly ConformanceCase[] = [
  behaviour('abort/before a run', async ({ executor, signal }) => {
    await using session = await Session.open(chain(2), executor, { signal });
    const expected = (await session.run('main', inputs(), { signal })).y!;
    await expectCode('a run with a signal that has fired', 'aborted', () =>
      session.run('main', inputs(), { signal: AbortSignal.abort() }),
    );
    expectSameBits('the run after it', (await session.run('main', inputs(), { signal })).y, expected);
  }),
  behaviour('abort/before opening and compiling', async ({ plugin, options, executor }) => {
    const signal = AbortSignal.abort();
    await expectCode('open() with a signal that has fired', 'aborted', () => plugin.open({ ...options, signal }));
    await expectCode('compile() with a signal that has fired', 'aborted', () =>
      executor.compile(chain(1).functions[0]!, signal),
    );
  }),
  behaviour('abort/during a long run', async ({ executor, signal }) => {
    const { session, ms } = await longRun(executor, signal);
    await using _ = session;
    const expected = (await session.run('main', inputs(), { signal })).y!;
    let stopped = false;
    for (let i = 0; i < attempts && !stopped; i++) stopped = await stops(session, ms / 10);
    if (!stopped) throw caseFailure('a long run went on to its end after its signal had fired');
    expectSameBits('the run after it', (await session.run('main', inputs(), { signal })).y, expected);
  }),
];
