import { RolloutEngine, type RolloutResult, Tokenizer } from '@quaver/generate';
import { expect, test } from 'vitest';
import { policyOptions } from '../../src/config/policy-options.ts';
import type { Experience } from '../../src/loop/experience.ts';
import { Learner } from '../../src/loop/learner.ts';
import { Prompts } from '../../src/loop/prompts.ts';
import { rollOut } from '../../src/loop/rollout-phase.ts';
import { Policy } from '../../src/policy/policy.ts';
import { WorkMeter } from '../../src/roofline/work.ts';
import { executor, taskOf, tinyConfig, tinyModel } from '../support/tiny-rl.ts';

/** The same samples, but the log-probability of one token is that of another number. */
function withWrongToken(experience: Experience): Experience {
  const [first, ...groups] = experience.groups;
  const [sample, ...samples] = first!.samples;
  const [turn] = sample!.turns;
  const logprobs = turn!.logprobs.slice();
  logprobs[1]! += 2 ** -12;
  const changed: RolloutResult = { ...turn!, logprobs };
  return { ...experience, groups: [{ ...first!, samples: [{ ...sample!, turns: [changed] }, ...samples] }, ...groups] };
}

// The one place where generation is believed before it is compared: a difference must not go by unseen.
test('in unified mode one token that differs is found, by the step itself', async () => {
  const config = tinyConfig({ recipe: 'fp8-block' });
  await using learner = new Learner(config);
  await using policy = await Policy.open(tinyModel, executor, policyOptions(config, learner.objective));
  const meter = new WorkMeter(policy.training.module, config.rollout.page_tokens);
  await learner.open(policy, meter);
  using engine = await RolloutEngine.open(policy.generation, { maxSequences: 8, cacheTokens: 512 });
  const [task, tokenizer] = [taskOf(), await Tokenizer.fromModule(tinyModel)];
  const parts = {
    meter,
    engine,
    task,
    tokenizer,
    prompts: new Prompts(tinyModel, tokenizer, config.rollout, 0, engine.capacity),
  };
  const problems = { step: 1, rounds: 1, problemsOf: () => task.problems(0, 4) };
  const experience = await rollOut(parts, problems, 0);
  const { numbers } = await learner.learn(withWrongToken(experience), 0, undefined);
  expect(numbers.mismatched_tokens).toBe(1);
  expect(numbers.token_mult_prob_error).toBeGreaterThan(1);
  expect(numbers.max_abs_logprob_diff).toBeCloseTo(2 ** -12, 6);
  // A rate of 0 has changed nothing: the samples as they were still agree.
  engine.weightsChanged();
  const again = { ...experience, policyVersion: 1 };
  expect((await learner.learn(again, 0, undefined)).numbers).toMatchObject({
    mismatched_tokens: 0,
    token_mult_prob_error: 1,
  });
});
