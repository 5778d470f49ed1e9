/** @file The losses of all algorithms and their gradients against numpy in float64 (see data/ORIGIN.md). */
import { type Executor, type ExecutorPlugin, referencePlugin } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { describe, expect, test } from 'vitest';
import { type AlgorithmPlan, parseAlgorithm, tokenWeights } from '../src/index.ts';
import { golden } from './support/golden.ts';
import { type ObjectiveCall, ObjectiveSession } from './support/objective-session.ts';

const [rows, rowTokens, vocabulary] = golden.shape;

/** As [rows, rowTokens], with what shall not matter in the padding. */
function spread(numberOf: (sequence: number, token: number) => number, padding: number): number[] {
  const out = new Array<number>(rows * rowTokens).fill(padding);
  for (const [b, length] of golden.lengths.entries()) {
    for (let t = 0; t < length; t++) out[b * rowTokens + golden.starts[b]! + t] = numberOf(b, t);
  }
  return out;
}

function callOf(plan: AlgorithmPlan, corrected: boolean): ObjectiveCall {
  const weights = tokenWeights(plan.aggregation, golden.lengths, plan.constantLength ?? golden.max_tokens);
  return {
    shape: golden.shape,
    logits: golden.logits,
    targets: golden.targets,
    weights: spread((b) => weights[b]!, 0),
    inputs: {
      advantages: spread((b) => golden.advantages[b]!, 7),
      correction: spread((b, t) => (corrected ? golden.correction[b]![t]! : 1), 3),
      old_logprobs: spread((b, t) => golden.old_logprobs[b]![t]!, -1000),
      reference_logprobs: spread((b, t) => golden.reference_logprobs[b]![t]!, 1000),
    },
  };
}

async function run(executor: Executor, plan: AlgorithmPlan, ...calls: readonly ObjectiveCall[]) {
  await using session = await ObjectiveSession.open(plan.objective, vocabulary, executor);
  const results = [];
  for (const call of calls) results.push(await session.run(call));
  return results;
}

/** f32 in the graph; f64 and differences in the golden. */
function expectClose(found: readonly number[], expected: readonly number[], scale: number): void {
  expect(found).toHaveLength(expected.length);
  expect(Math.max(...expected.map((value, i) => Math.abs(value - found[i]!))) / scale).toBeLessThan(2e-6);
}

/** Rows [from, to) of a call. */
function rowsOf(call: ObjectiveCall, from: number, to: number): ObjectiveCall {
  const part = (values: ArrayLike<number>) => Array.from(values).slice(from * rowTokens, to * rowTokens);
  return {
    shape: [to - from, rowTokens, vocabulary],
    logits: Array.from(call.logits).slice(from * rowTokens * vocabulary, to * rowTokens * vocabulary),
    targets: part(call.targets),
    weights: part(call.weights),
    inputs: Object.fromEntries(Object.entries(call.inputs).map(([name, values]) => [name, part(values)])),
  };
}

const plugins: readonly ExecutorPlugin[] = [referencePlugin(), cpuPlugin];

describe.each(plugins.map((plugin) => [plugin.id, plugin] as const))('on the executor %s', (_, plugin) => {
  test.each(golden.objectives.map((item) => [JSON.stringify(item.config), item] as const))('%s', async (__, item) => {
    await using executor = await plugin.open();
    const { plan } = parseAlgorithm(item.config);
    const [result] = await run(executor, plan, callOf(plan, item.corrected));
    // Terms of the loss may cancel; those of the gradient are as large as they are.
    const scale = Math.max(...item.gradient.map(Math.abs));
    expectClose([result!.loss], [item.loss], Math.max(scale, Math.abs(item.loss)));
    expectClose(result!.gradient, item.gradient, scale);
  });
});

test.each(golden.objectives.map((item) => [JSON.stringify(item.config), item] as const))(
  'micro-batches of %s add up to the whole',
  async (_, item) => {
    await using executor = await referencePlugin().open();
    const { plan } = parseAlgorithm(item.config);
    const whole = callOf(plan, item.corrected);
    const [all, first, second] = await run(executor, plan, whole, rowsOf(whole, 0, 2), rowsOf(whole, 2, rows));
    expect(first!.loss + second!.loss).toBeCloseTo(all!.loss, 6);
    expect([...first!.gradient, ...second!.gradient]).toEqual(all!.gradient);
  },
);

/** One token of two, both with probability 1/2, that an old policy gave another log-probability. */
async function oneToken(config: object, advantage: number, oldLogprob: number) {
  await using executor = await referencePlugin().open();
  const { plan } = parseAlgorithm(config);
  await using session = await ObjectiveSession.open(plan.objective, 2, executor);
  return session.run({
    ...{ shape: [1, 1, 2], logits: [0, 0], targets: [0], weights: [1] },
    inputs: { advantages: [advantage], correction: [1], old_logprobs: [oldLogprob], reference_logprobs: [oldLogprob] },
  });
}

describe('by hand', () => {
  // π = 1/2, so d log π / d logits = (1/2, −1/2), and with π_old = 1/4 the ratio is 2, with π_old = 1 it is 1/2.
  const [ratio2, ratioHalf, ratio1] = [Math.log(0.25), 0, Math.log(0.5)];

  test.each([
    ['on the policy itself it is the policy gradient', { name: 'grpo' }, 3, ratio1, -3, -3],
    ['a good token that became likelier is clipped', { name: 'grpo' }, 3, ratio2, -1.2 * 3, 0],
    ['up to clip_high', { name: 'dapo' }, 3, ratio2, -1.28 * 3, 0],
    ['a good token that became less likely is not', { name: 'grpo' }, 3, ratioHalf, -0.5 * 3, -0.5 * 3],
    ['a bad token that became less likely is clipped', { name: 'grpo' }, -3, ratioHalf, 0.8 * 3, 0],
    ['a bad token that became likelier is not', { name: 'grpo' }, -3, ratio2, 2 * 3, 2 * 3],
    ['unless by the dual clip', { name: 'grpo', dual_clip: 1.5 }, -3, ratio2, 1.5 * 3, 0],
    ['which does not concern good tokens', { name: 'grpo', dual_clip: 1.5 }, 3, ratioHalf, -0.5 * 3, -0.5 * 3],
    ['CISPO keeps the gradient of a clipped token', { name: 'cispo', clip_high: 0.2 }, 3, ratio2, 3.6 * Math.LN2, -3.6],
    ['REINFORCE knows no ratio', { name: 'reinforce' }, 3, ratio2, 3 * Math.LN2, -3],
    ['k3 of a policy that is its reference is 0', { name: 'rloo', kl_coefficient: 1 }, 0, ratio1, 0, 0],
    // d = log(1/4) − log(1/2): e^d − 1 − d = ln 2 − 1/2, and its derivative is 1 − e^d = 1/2.
    ['k3 by hand', { name: 'rloo', kl_coefficient: 2 }, 0, ratio2, 2 * (Math.LN2 - 0.5), 2 * 0.5],
    ['the entropy of two equal logits is ln 2', { name: 'rloo', entropy_coefficient: 2 }, 0, ratio1, -2 * Math.LN2, 0],
  ])('%s', async (_, config, advantage, oldLogprob, loss, perLogprob) => {
    const result = await oneToken(config, advantage, oldLogprob);
    expect(result.loss).toBeCloseTo(loss, 5);
    expect(result.gradient[0]).toBeCloseTo(perLogprob / 2, 5);
    expect(result.gradient[1]).toBeCloseTo(-perLogprob / 2, 5);
  });

  test.each(
    ['grpo', 'dapo', 'dr-grpo', 'ppo', 'gspo', 'cispo'].flatMap((name) =>
      [1, 0, -1].flatMap((advantage) => [-1e4, 1e4].map((old) => ({ name, advantage, old }))),
    ),
  )('$name: an old log-probability of $old with advantage $advantage gives finite numbers', async (item) => {
    const config = { name: item.name, kl_coefficient: 1 };
    const { loss, gradient } = await oneToken(config, item.advantage, item.old);
    expect([loss, ...gradient].every(Number.isFinite)).toBe(true);
  });
});
