import { expect, test } from 'vitest';
import { PagePool } from '../../src/rollout/page-pool.ts';
import { RequestGroup } from '../../src/rollout/request-group.ts';
import { Scheduler } from '../../src/rollout/scheduler.ts';
import { hashedLogits, vocabulary } from './support/token-cache.ts';

const limits = { maxSequences: 8, pageTokens: 8, prefillTokens: 48 };

function open(context: number) {
  const pool = new PagePool(32);
  const model = { context, vocabSize: vocabulary, eosTokenIds: [] };
  const group = (promptTokens: number, samples: number, order: number) => {
    const prompt = Array.from({ length: promptTokens }, (_, i) => i % vocabulary);
    const limited = { limits: model, capacity: context, seed: 0, tokenizer: undefined };
    return new RequestGroup({ id: order, prompt, samples }, limited, order, 0);
  };
  return { pool, group, scheduler: new Scheduler(pool, { ...limits, context }) };
}

/** A second sample with 16 shared tokens and 8 to compute, and a prompt of 9 tokens that came before: it is padded to 12. */
function planOf(context: number) {
  const { group, scheduler } = open(context);
  const shared = group(23, 2, 1);
  const [leader, follower] = shared.sequences;
  scheduler.add(shared);
  scheduler.admit();
  expect(scheduler.running).toEqual([leader]);
  const { logits, logprobs } = hashedLogits(shared.prompt);
  for (const each of shared.sequences) each.accept(logits, logprobs, 0);
  shared.drawn = true;
  scheduler.computed(leader!, 23);
  const before = group(9, 1, 0);
  scheduler.add(before);
  scheduler.admit();
  expect(follower).toMatchObject({ computed: 16, pending: 8 });
  const plan = scheduler.planPrefill()!;
  expect(plan.tokens).toBe(12);
  return plan.sequences.map(({ order }) => order);
}

test('sequences with about as much to compute share a call, if its padding has positions of the model', () => {
  expect(planOf(28)).toEqual([0, 2]);
  expect(planOf(27)).toEqual([0]);
});

test('a call of prefill has no more tokens than its budget, padding included', () => {
  const { group, scheduler } = open(64);
  for (const [order, length] of [20, 24, 13, 12, 24].entries()) scheduler.add(group(length, 1, order));
  scheduler.admit();
  // 20 tokens are padded to 24: two rows are within 48, and 12 are no more than half of 24.
  expect(scheduler.planPrefill()!).toMatchObject({ tokens: 24, sequences: [{ order: 0 }, { order: 1 }] });
  for (const sequence of [...scheduler.running.slice(0, 2)]) scheduler.end(sequence);
  expect(scheduler.planPrefill()!).toMatchObject({ tokens: 16, sequences: [{ order: 2 }, { order: 3 }] });
});
