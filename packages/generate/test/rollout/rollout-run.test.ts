import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RunCounters } from '../../src/rollout/metrics.ts';
import { PagePool } from '../../src/rollout/page-pool.ts';
import { RequestGroup } from '../../src/rollout/request-group.ts';
import { RequestSource } from '../../src/rollout/request-source.ts';
import { RolloutRun } from '../../src/rollout/rollout-run.ts';
import { Scheduler } from '../../src/rollout/scheduler.ts';
import type { RolloutEvent, RolloutRequest, RolloutResult } from '../../src/rollout/types.ts';
import { hashedLogits, TokenCache, vocabulary } from './support/token-cache.ts';

interface Setting {
  readonly requests: readonly RolloutRequest[];
  readonly context: number;
  readonly pages: number;
  readonly pageTokens: number;
  readonly maxSequences: number;
  readonly prefillTokens: number;
  readonly failing: ReadonlySet<number>;
}

function contextOf({ context, pages, pageTokens }: Pick<Setting, 'context' | 'pages' | 'pageTokens'>) {
  const limits = { context, vocabSize: vocabulary, eosTokenIds: [0] };
  return { limits, capacity: Math.min(context, pages * pageTokens), seed: 3, tokenizer: undefined };
}

/** A run over a cache of tokens, whose books are checked after every step. */
function openRun(
  setting: Setting,
  { signal, beforeCall }: { signal?: AbortSignal; beforeCall?: (call: number) => void } = {},
) {
  const { context, pages, pageTokens, maxSequences, prefillTokens, failing } = setting;
  const pool = new PagePool(pages);
  const scheduler = new Scheduler(pool, { maxSequences, pageTokens, prefillTokens, context });
  const model = new TokenCache({
    pages,
    pageTokens,
    prefillTokens,
    context,
    failing,
    ...(beforeCall ? { beforeCall } : {}),
  });
  const counters = new RunCounters();
  const events: { readonly event: RolloutEvent; readonly order: number }[] = [];
  const requests = function* () {
    for (const request of setting.requests) {
      expect(scheduler.live, 'a request is taken when there is room').toBeLessThan(maxSequences);
      yield request;
    }
  };
  const run = new RolloutRun({
    source: new RequestSource(requests()),
    scheduler,
    model,
    counters,
    context: contextOf(setting),
    maxSequences,
    signal,
    sink: (event, order) => void events.push({ event, order }),
  });
  const step = async () => {
    const goesOn = await run.step();
    const { running, waiting } = scheduler;
    expect(running.length).toBeLessThanOrEqual(maxSequences);
    for (const { group } of running) if (!group.drawn) expect(group.running, 'the others wait').toBe(1);
    const prefixes = new Set([...running, ...waiting].map(({ group }) => group.prefix ?? []));
    const used = new Set([...running.flatMap((sequence) => sequence.pages), ...[...prefixes].flat()]);
    expect(pool.used, 'pages that somebody uses').toBe(used.size);
    return goesOn;
  };
  const all = async () => {
    for (let steps = 0; await step(); steps++) expect(steps, 'every step brings the run on').toBeLessThan(2000);
    return events;
  };
  return { pool, scheduler, model, counters, events, step, all };
}

/** What a sample is, without an engine: one token after the other. */
function alone(request: RolloutRequest, sample: number, setting: Setting): Partial<RolloutResult> {
  const group = new RequestGroup(request, contextOf(setting), 0, 0);
  const sequence = group.sequences[sample]!;
  while (!sequence.ended) {
    const { logits, logprobs } = hashedLogits(sequence.tokens);
    sequence.accept(logits, logprobs, 0);
  }
  const { tokens, logprobs, stopReason } = sequence.result(0);
  return { tokens, logprobs, stopReason };
}

const request = fc.record({
  prompt: fc.array(fc.nat(vocabulary - 1), { minLength: 1, maxLength: 20 }),
  samples: fc.integer({ min: 1, max: 4 }),
  maxNewTokens: fc.nat(14),
  temperature: fc.constantFrom(0, 1),
  eosTokenIds: fc.constantFrom([], [0], [1, 2]),
});
const settings: fc.Arbitrary<Setting> = fc.record({
  requests: fc
    .array(request, { minLength: 1, maxLength: 8 })
    .map((requests) => requests.map((each, id) => ({ ...each, id }))),
  context: fc.integer({ min: 4, max: 40 }),
  pages: fc.integer({ min: 1, max: 16 }),
  pageTokens: fc.constantFrom(1, 2, 4, 5),
  maxSequences: fc.integer({ min: 1, max: 6 }),
  prefillTokens: fc.integer({ min: 1, max: 24 }),
  failing: fc.uniqueArray(fc.nat(30), { maxLength: 3 }).map((calls) => new Set(calls)),
});

test('every sample comes out as if it were alone, whatever shares the batch, gives way or fails; all pages are free', async () => {
  await fc.assert(
    fc.asyncProperty(settings, async (setting) => {
      const { all, pool } = openRun(setting);
      const events = await all();
      expect(pool.used).toBe(0);
      for (const asked of setting.requests) {
        const own = events.map(({ event }) => event).filter(({ id }) => id === asked.id);
        const { capacity } = contextOf(setting);
        if (asked.prompt.length >= capacity) {
          expect(own).toEqual([
            { type: 'error', id: asked.id, sample: 0, error: expect.objectContaining({ code: 'prompt-too-long' }) },
          ]);
          continue;
        }
        for (let sample = 0; sample < asked.samples!; sample++) {
          const mine = own.filter((event) => event.sample === sample);
          const end = mine.at(-1)!;
          expect(end).toMatchObject({ type: 'end', ...alone(asked, sample, setting) });
          const tokens = mine.flatMap((event) => (event.type === 'token' ? [event.token] : []));
          expect(tokens).toEqual((end as RolloutResult).tokens);
        }
      }
      const orders = events.filter(({ event }) => event.type !== 'token').map(({ order }) => order);
      expect(
        orders.toSorted((a, b) => a - b),
        'one outcome for each place',
      ).toEqual(orders.map((_, i) => i));
    }),
    { numRuns: 300 },
  );
});

test('an abort at any call leaves no page in use', async () => {
  await fc.assert(
    fc.asyncProperty(settings, fc.nat(20), async (setting, last) => {
      const abort = new AbortController();
      const beforeCall = (call: number) => call === last && abort.abort();
      const { all, scheduler, pool, model } = openRun(setting, { signal: abort.signal, beforeCall });
      const error = await all().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (model.calls > last) expect(error).toMatchObject({ code: 'aborted' });
      else expect(error).toBeUndefined();
      scheduler.clear();
      expect([pool.used, scheduler.live]).toEqual([0, 0]);
    }),
  );
});

const plenty = {
  context: 64,
  pages: 64,
  pageTokens: 4,
  maxSequences: 16,
  prefillTokens: 64,
  failing: new Set<number>(),
};

test('the prompt of many samples is computed once; each adds only the tokens of its partial page', async () => {
  const prompt = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3];
  const requests = [{ id: 0, prompt, samples: 8, maxNewTokens: 3, eosTokenIds: [] }];
  const { all, model, counters, scheduler, pool } = openRun({ ...plenty, requests });
  await all();
  // Sample 0: 10 and its first 2 tokens; the others: 2 of the partial page, and their first 2 tokens.
  expect(model.computedTokens).toBe(12 + 7 * 4);
  expect(counters.metrics({ sharedTokens: 0, preemptions: 0, pages: 0, mostPagesUsed: 0 })).toMatchObject({
    promptTokens: 10 + 7 * 3,
    generatedTokens: 24,
    prefillCalls: 2,
    decodeCalls: 2,
    recomputedTokens: 0,
    sequences: 8,
  });
  expect(scheduler.savedTokens).toBe(7 * 8);
  expect(pool.mostUsed, '2 shared pages and one for each').toBe(10);
});

test('a prompt of full pages needs no page of its own before the first token is in it', async () => {
  const requests = [{ id: 0, prompt: [1, 2, 3, 4], samples: 4, maxNewTokens: 2, eosTokenIds: [] }];
  const { all, model } = openRun({ ...plenty, requests });
  await all();
  expect(model.computedTokens).toBe(4 + 4);
});

test('where pages run out the youngest gives way, and is computed again', async () => {
  const requests = [0, 1, 2].map((id) => ({ id, prompt: [id + 1, 2, 3], maxNewTokens: 12, eosTokenIds: [] }));
  const { all, scheduler, counters } = openRun({ ...plenty, pages: 8, requests });
  const events = await all();
  expect(scheduler.preemptions).toBeGreaterThan(0);
  expect(counters.recomputedTokens).toBeGreaterThan(0);
  expect(events.flatMap(({ event }) => (event.type === 'end' ? [event.id] : []))).toEqual([0, 1, 2]);
});

test('a sequence that outgrows the whole pool ends with its context', async () => {
  const requests = [{ id: 0, prompt: [1, 2, 3], maxNewTokens: 30, eosTokenIds: [] }];
  const { all } = openRun({ ...plenty, pages: 2, requests });
  expect((await all()).at(-1)!.event).toMatchObject({ type: 'end', stopReason: 'context', tokens: { length: 5 } });
});

test('logits out of which nothing can be chosen end one sequence only', async () => {
  const requests = [0, 1].map((id) => ({ id, prompt: [id + 1], maxNewTokens: 4, eosTokenIds: [] }));
  const run = openRun({ ...plenty, requests });
  const compute = run.model.decode.bind(run.model);
  run.model.decode = (sequences, signal, read) =>
    compute(sequences, signal, (logits, logprobs, row) => {
      const bad = sequences[row]!.group.id === 0 && sequences[row]!.generated === 2;
      read(bad ? logits.fill(Number.NaN) : logits, logprobs, row);
    });
  const ends = (await run.all()).map(({ event }) => event).filter(({ type }) => type !== 'token');
  expect(ends).toEqual([
    { type: 'error', id: 0, sample: 0, error: expect.objectContaining({ code: 'logits-not-finite' }) },
    expect.objectContaining({ type: 'end', id: 1, stopReason: 'max_new_tokens' }),
  ]);
  expect(run.pool.used).toBe(0);
});

test.each([
  [{ prompt: [] }, 'prompt-empty'],
  [{ prompt: [8] }, 'prompt-token-range'],
  [{ samples: 0 }, 'sampling-invalid'],
  [{ maxNewTokens: 1.5 }, 'sampling-invalid'],
  [{ topLogprobs: -1 }, 'sampling-invalid'],
  [{ temperature: -1 }, 'sampling-invalid'],
  [{ key: [-1] }, 'rollout-key-invalid'],
  [{ stop: 'x' }, 'rollout-tokenizer-missing'],
])('a request with %o fails alone with %s', async (part, code) => {
  const good = { id: 1, prompt: [1], maxNewTokens: 2, eosTokenIds: [] };
  const { all } = openRun({ ...plenty, requests: [{ ...good, id: 0, ...part }, good] });
  const ends = (await all()).map(({ event }) => event).filter(({ type }) => type !== 'token');
  expect(ends).toEqual([
    { type: 'error', id: 0, sample: 0, error: expect.objectContaining({ code }) },
    expect.objectContaining({ type: 'end', id: 1 }),
  ]);
});
