import { type DeviceBuffer, type Executor, type Fence, referencePlugin, Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { expect, test } from 'vitest';
import {
  pagedCache,
  RolloutEngine,
  type RolloutEvent,
  type RolloutOptions,
  type RolloutRequest,
} from '../../src/index.ts';
import { loadTiny } from '../support/tiny-models.ts';
import { WatchedExecutor } from '../support/watched-executor.ts';
import { told } from './support/paged-engine.ts';

const { module, tokens: text } = await loadTiny('llama3');
const paged = pagedCache(module, { pageTokens: 16 });

/** Runs calls, and then says of some that they failed. */
class FailingExecutor extends WatchedExecutor {
  readonly #failing: (call: number) => boolean;
  #call = 0;

  constructor(inner: Executor, failing: (call: number) => boolean) {
    super(inner);
    this.#failing = failing;
  }

  override async wait(fence: Fence): Promise<void> {
    await super.wait(fence);
    if (this.#failing(this.#call++)) throw new Error('the device was lost');
  }
}

const requests: readonly RolloutRequest[] = [0, 1, 2].map((id) => ({
  ...{ id, prompt: text.slice(id), samples: 2, maxNewTokens: 20 },
  ...{ temperature: 1, eosTokenIds: [], key: [id] },
}));

async function open(
  failing: (call: number) => boolean,
  options: Omit<RolloutOptions, 'reopen'> & { reopens?: boolean },
) {
  const executor = new FailingExecutor(await cpuPlugin.open(), failing);
  const reopened: unknown[] = [];
  const session = await Session.open(paged, executor, { functions: ['prefill', 'decode'] });
  const reopen = async (error: unknown) => {
    reopened.push(error);
    return Session.open(paged, executor, { functions: ['prefill', 'decode'] });
  };
  const { reopens = true, ...rest } = options;
  const engine = await RolloutEngine.open(session, { cacheTokens: 512, ...rest, ...(reopens ? { reopen } : {}) });
  return { engine, executor, reopened, oneCache: new Set<DeviceBuffer>(executor.liveStates).size };
}

test('sequences go on with the same bits on a session that was opened again; no token comes twice', async () => {
  const whole = await open(() => false, {});
  const expected = (await whole.engine.generate(requests)).map(told);
  const { engine, executor, reopened, oneCache } = await open((call) => [0, 1, 9, 17].includes(call), {});
  const events: RolloutEvent[] = [];
  for await (const event of engine.run(requests)) events.push(event);
  const ends = events.flatMap((event) => (event.type === 'end' ? [event] : []));
  const place = ({ id, sample }: RolloutEvent) => 2 * Number(id) + sample;
  expect(ends.sort((a, b) => place(a) - place(b)).map(told)).toEqual(expected);
  for (const end of ends) {
    const mine = events.flatMap((event) =>
      event.type === 'token' && place(event) === place(end) ? [event.token] : [],
    );
    expect(mine).toEqual(end.tokens);
  }
  expect(reopened).toHaveLength(4);
  expect(engine.metrics.reopened).toBe(4);
  expect(engine.metrics.recomputedTokens).toBeGreaterThan(0);
  expect(executor.liveStates.size, 'old caches were given back').toBe(oneCache);
  expect(engine.usedPages).toBe(0);
  engine.dispose();
  expect(executor.liveStates.size).toBe(0);
});

test('without a way to open it again, a failure ends the run and says what to do', async () => {
  const { engine } = await open((call) => call === 3, { reopens: false });
  await expect(engine.generate(requests)).rejects.toMatchObject({
    code: 'rollout-executor-failed',
    message: expect.stringContaining('the device was lost'),
    cause: { message: 'the device was lost' },
    hint: expect.stringContaining('reopen'),
  });
  expect(engine.usedPages).toBe(0);
});

test('an executor that fails every time is given up', async () => {
  const { engine, reopened } = await open(() => true, {});
  await expect(engine.generate(requests)).rejects.toMatchObject({ code: 'rollout-executor-failed' });
  expect(reopened).toHaveLength(2);
});

test('a session with other pages is refused', async () => {
  const executor = new FailingExecutor(await cpuPlugin.open(), () => true);
  const functions = ['prefill', 'decode'];
  const engine = await RolloutEngine.open(await Session.open(paged, executor, { functions }), {
    cacheTokens: 512,
    reopen: () => Session.open(pagedCache(module, { pageTokens: 32 }), executor, { functions }),
  });
  await expect(engine.generate(requests)).rejects.toMatchObject({
    code: 'rollout-executor-failed',
    message: expect.stringContaining('its pages hold 32 tokens after reopening, expected 16'),
  });
});

test('what a sequence with NaN leaves in its pages does not reach the next', async () => {
  // By the definition of attention, which multiplies what it does not see by zero.
  const executor = await referencePlugin().open();
  const session = await Session.open(paged, executor, { functions: ['prefill', 'decode'] });
  const engine = await RolloutEngine.open(session, { cacheTokens: 48, maxSequences: 2 });
  const good = [1, 2].map((id) => ({ id, prompt: text.filter((token) => token !== 5).slice(id, 9), maxNewTokens: 9 }));
  const embedding = paged.parameters.find(({ name }) => name.includes('embed_tokens'))!;
  const bytes = (await session.readParameter(embedding.name)).slice();
  const rowBytes = bytes.length / 97;
  bytes.fill(0xff, 5 * rowBytes, 6 * rowBytes);
  await session.writeParameter(embedding.name, bytes);
  const expected = (await engine.generate(good)).map(told);
  const bad = { id: 0, prompt: [...text.slice(0, 20), 5], maxNewTokens: 4 };
  const [failure, ...others] = await engine.generate([bad, ...good]);
  expect(failure!.error).toMatchObject({ code: 'logits-not-finite' });
  expect(others.map(told)).toEqual(expected);
});
