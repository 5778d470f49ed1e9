/** @file Reinforcement learning by the command, on the bundled model and its problems. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { modelPath } from '@quaver/model-arithmetic/node';
import { afterAll, describe, expect, it } from 'vitest';
import { quaver, quaverJson, removeFolder, start, temporaryFolder } from './run-quaver.ts';
import { readRecords } from './train-runs.ts';

const folder = temporaryFolder();
const at = (...names: string[]) => path.join(folder, ...names);
afterAll(() => removeFolder(folder));

interface Row {
  readonly recipe: string;
  readonly mode: string;
  readonly token_mult_prob_error: number;
  readonly mismatched_tokens: number;
  readonly bytes_per_parameter: number;
}

/** A short run, in a file whose paths are relative to it. */
function config(name: string, changes: object = {}): string {
  mkdirSync(at(name), { recursive: true });
  const file = at(name, 'config.json');
  const content = {
    model: path.relative(at(name), modelPath()),
    task: { name: 'arithmetic', difficulties: [1] },
    rollout: { prompts: 4, samples: 4, max_new_tokens: 24, max_sequences: 16, cache_tokens: 2048 },
    schedule: { decay: 'constant', peak: 1e-4 },
    checkpoint: { every: 1 },
    steps: 4,
    ...changes,
  };
  writeFileSync(file, JSON.stringify(content));
  return file;
}

describe('rl run', () => {
  it('ends with one document, and every token has the bits of training', async () => {
    const file = config('run', {
      evaluate: { every: 2, problems: 8 },
      kv_cache: 'fp8',
      task: { name: 'arithmetic', difficulties: [2] },
    });
    const found = await quaverJson<Record<string, unknown>>(['rl', 'run', '--config', file, '--out', at('run/out')]);
    expect(found).toMatchObject({ steps: 4, mismatched_tokens: 0, token_mult_prob_error: 1, reward_failures: 0 });
    expect(found.parameters_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(found.heldout_accuracy).toBeGreaterThan(0);
    const records = readRecords(at('run/out'));
    const errors = records.flatMap(({ token_mult_prob_error: error }) => error ?? []);
    expect(new Set(errors)).toEqual(new Set([1]));
    // What was learned is a model like any other.
    const { stdout } = await quaver(['generate', at('run/out/model.qvr'), '--chat', '--prompt', '2 + 3 = ?']);
    expect(stdout).toContain('####');
    const best = at('run/best.qvr');
    await quaverJson(['export', at('run/out'), '--checkpoint', 'best', '-o', best]);
    expect((await quaver(['inspect', best])).code).toBe(0);
    expect(await quaver(['export', at('run/out'), '-o', best])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--checkpoint'),
    });
  });

  it('killed with SIGKILL and resumed, it has the bits of a run that was not', async () => {
    const file = config('killed', { steps: 8 });
    const run = (out: string) => ['rl', 'run', '--config', file, '--out', out, '--threads', '1'];
    const whole = await quaverJson<Record<string, unknown>>(run(at('killed/whole')));
    const { child, finished } = start(run(at('killed/out')));
    const reached = 1 + Math.floor(Math.random() * 5);
    while (child.exitCode === null && readRecords(at('killed/out')).length < reached) await pause();
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
    child.kill('SIGKILL');
    await finished;
    expect(readRecords(at('killed/out')).length).toBeLessThan(8);
    const resumed = await quaverJson<Record<string, unknown>>([
      'rl',
      'run',
      '--resume',
      at('killed/out'),
      '--threads',
      '1',
    ]);
    expect(resumed.parameters_sha256).toBe(whole.parameters_sha256);
    const rewards = (out: string) =>
      readRecords(out).map(({ reward, loss, rollout_tokens: tokens }) => [reward, loss, tokens]);
    expect(rewards(at('killed/out'))).toEqual(rewards(at('killed/whole')));
  });

  it.each([
    [{ stepz: 1 }, 'rl-config-invalid', /stepz/],
    [{ algorithm: { name: 'grpoo' } }, 'rl-config-invalid', /algorithm\.name.*grpo.*dapo/],
    [{ algorithm: { name: 'grpo', clip_low: -1 } }, 'rl-config-invalid', /algorithm\.clip_low/],
    [{ max_policy_age: 1 }, 'rl-config-invalid', /max_policy_age/],
    [{ recipe: 'fp8-delayed' }, 'rl-recipe-delayed', /delayed/],
    [{ task: { name: 'arithmetik' } }, 'rl-config-invalid', /task.*arithmetic/],
  ])('%j is refused with %s', async (changes, code, message) => {
    const file = config('bad', changes);
    const { code: exit, stdout } = await quaver(['rl', 'run', '--config', file, '--out', at('bad/out'), '--json']);
    const { error } = JSON.parse(stdout);
    expect(exit).toBe(1);
    expect(error.code).toBe(code);
    expect(`${error.message} ${error.hint}`).toMatch(message);
  });
});

describe('rl compare', () => {
  it('measures what engines disagree about, and that one does not', async () => {
    const file = config('compare', { steps: 3, rollout: { prompts: 8, samples: 4, max_new_tokens: 24 } });
    const args = ['rl', 'compare', '--config', file, '--out', at('compare/runs'), '-o', at('compare/report.html')];
    const { rows, tokens } = await quaverJson<{ rows: Row[]; tokens: number }>(args);
    expect(tokens).toBeGreaterThan(6 * 3 * 32 * 3);
    const row = (recipe: string, mode: string) => rows.find((each) => each.recipe === recipe && each.mode === mode)!;
    for (const recipe of ['bf16', 'fp8-block']) {
      expect(row(recipe, 'unified')).toMatchObject({ token_mult_prob_error: 1, mismatched_tokens: 0 });
    }
    const error = (recipe: string, mode: string) => row(recipe, mode).token_mult_prob_error;
    expect(error('fp8-generate-only', 'unified')).toBeGreaterThan(1);
    expect(error('bf16', 'split')).toBeGreaterThan(1);
    expect(error('fp8-block', 'split')).toBeGreaterThan(error('bf16', 'split'));
    expect(error('fp8-generate-only', 'split')).toBeGreaterThan(error('fp8-block', 'split'));
    expect(row('fp8-block', 'unified').bytes_per_parameter).toBeLessThan(row('bf16', 'unified').bytes_per_parameter);
    const report = readFileSync(at('compare/report.html'), 'utf8');
    for (const { recipe, mode } of rows) expect(report).toContain(`${recipe}, ${mode}, seed 0`);
    // Again: the runs are there, and nothing is computed twice.
    expect((await quaverJson<{ rows: Row[] }>(args)).rows).toEqual(rows);
  });
});

describe('rl diagnose', () => {
  it('names the first product that FP8 makes different', async () => {
    writeFileSync(at('text.txt'), 'Which is larger, 12 or 21?\n#### 21');
    const found = await quaverJson<{ different_nodes: { location: string; generation_op: string }[] }>([
      ...['rl', 'diagnose', modelPath(), '--recipe', 'fp8-generate-only', '--text', at('text.txt')],
    ]);
    expect(found.different_nodes[0]).toMatchObject({
      location: 'model.layers.0.self_attn.q_proj',
      generation_op: 'scaled_dot',
      training_op: 'dot_general',
    });
  });
});

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
