import { describe, expect, test } from 'vitest';
import { algorithms, parseAlgorithm, parseCorrection } from '../src/index.ts';

const refused = (message: string | RegExp, hint = expect.any(String)) =>
  expect.objectContaining({ code: 'rl-config-invalid', message: expect.stringMatching(message), hint });

describe('an algorithm of a configuration', () => {
  test.each(algorithms.map((algorithm) => [algorithm.name, algorithm] as const))(
    '%s has defaults',
    (name, algorithm) => {
      const { config, plan } = parseAlgorithm({ name });
      expect(config).toEqual({ name, ...algorithm.defaults });
      expect(plan.usesReference).toBe(false);
      expect(plan.objective.inputs).not.toContain('reference_logprobs');
      expect(parseAlgorithm({ name, kl_coefficient: 0.1 }).plan.usesReference).toBe(true);
    },
  );

  test('the defaults are those of the papers', () => {
    const defaults = Object.fromEntries(algorithms.map((algorithm) => [algorithm.name, algorithm.defaults]));
    expect(defaults).toMatchObject({
      grpo: { clip_low: 0.2, clip_high: 0.2, baseline: 'mean', std: 'sample', aggregation: 'sequence-mean' },
      dapo: { clip_low: 0.2, clip_high: 0.28, dynamic_sampling: true, aggregation: 'token-mean' },
      'dr-grpo': { std: 'none', aggregation: 'constant' },
      rloo: { baseline: 'leave-one-out', std: 'none', aggregation: 'sequence-sum' },
      reinforce: { baseline: 'mean', aggregation: 'sequence-sum' },
      gspo: { clip_low: 3e-4, clip_high: 4e-4, aggregation: 'sequence-mean' },
      cispo: { clip_low: 1, aggregation: 'token-mean' },
      ppo: { epochs: 4 },
    });
  });

  test('options become the plan', () => {
    const { plan } = parseAlgorithm({
      name: 'ppo',
      epochs: 3,
      discount: 0.9,
      aggregation: 'constant',
      constant_length: 64,
    });
    expect(plan).toMatchObject({ epochs: 3, discount: 0.9, aggregation: 'constant', constantLength: 64 });
    expect(parseAlgorithm({ name: 'gspo' }).plan.clip).toEqual({
      ratio: 'sequence',
      low: 3e-4,
      high: 4e-4,
      bySign: true,
    });
    expect(
      parseAlgorithm({ name: 'reinforce', baseline: 'ema', ema_decay: 0.5 }).plan.advantage.estimate([[1]], 3),
    ).toEqual({
      groups: [{ advantages: [-2], skipped: false }],
      memory: 2,
    });
  });

  test('DAPO drops equal groups and shortens long responses, the others do not', () => {
    for (const { name } of algorithms) {
      const { plan } = parseAlgorithm({ name });
      expect(plan.dropsEqualGroups).toBe(name === 'dapo');
      expect(plan.lengthReward(95, 100)).toBeCloseTo(name === 'dapo' ? -15 / 20 : 0, 12);
    }
    const { plan } = parseAlgorithm({ name: 'dapo', dynamic_sampling: false, overlong_buffer: 0 });
    expect(plan.dropsEqualGroups).toBe(false);
    expect(plan.lengthReward(100, 100)).toBe(0);
  });

  test('what is wrong is told with its path and what may stand there', () => {
    const all = algorithms.map(({ name }) => name).join(', ');
    expect(() => parseAlgorithm({ name: 'grp' })).toThrow(refused(`^algorithm.name: expected one of ${all}$`));
    expect(() => parseAlgorithm('grpo')).toThrow(refused(/^algorithm: /));
    expect(() => parseAlgorithm({ name: 'grpo', clip_high: 0 })).toThrow(refused(/^algorithm\.clip_high: .*>0/));
    expect(() => parseAlgorithm({ name: 'grpo', kl_estimator: 'k4' })).toThrow(
      refused('^algorithm.kl_estimator: expected one of k1, k2, k3$'),
    );
    expect(() => parseAlgorithm({ name: 'rloo', clip_high: 0.2, std: 1 })).toThrow(
      refused(
        /algorithm\.std: expected one of sample, population, none; algorithm: unknown field clip_high/,
        expect.stringMatching(
          /^Fields of algorithm: name, baseline, std, std_eps, aggregation, .*entropy_coefficient\.$/,
        ),
      ),
    );
  });
});

test('a correction of a configuration', () => {
  expect(parseCorrection({ name: 'tis' }).config).toEqual({ name: 'tis', level: 'token', limit: 2 });
  expect(() => parseCorrection({ name: 'mis' })).toThrow(
    refused('^correction.name: expected one of none, tis, icepop, sequence-mask, sequence-error$'),
  );
  expect(() => parseCorrection({ name: 'tis', limit: -1 })).toThrow(refused(/^correction\.limit: /));
  expect(() => parseCorrection({ name: 'none', limit: 1 })).toThrow(refused('^correction: unknown field limit$'));
});
