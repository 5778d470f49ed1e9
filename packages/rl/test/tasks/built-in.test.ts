import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Environment, RlResponse } from '../../src/tasks/environment.ts';
import { parseExpression } from '../../src/tasks/expression.ts';
import { openEnvironment } from '../../src/tasks/node/open-environment.ts';
import { parseTask } from '../../src/tasks/node/parse-task.ts';

const open = (task: object, seed = 0): Promise<Environment> =>
  openEnvironment(parseTask(task), seed, () => Promise.reject(new Error('no module')));
const response = (text: string, turns: readonly string[] = []): RlResponse => ({
  ...{ text, tokens: [1], stopReason: 'eos' },
  messages: [...turns, text].map((content) => ({ role: 'assistant', content })),
});
const index = fc.integer({ min: 0, max: 100_000 });
const split = fc.constantFrom('train' as const, 'held-out' as const);

/** An expression as text, and its value in f64: another way to compute it. */
const expression: fc.Arbitrary<{ text: string; value: number }> = fc.letrec<{ node: { text: string; value: number } }>(
  (tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.integer({ min: 0, max: 99 }).map((value) => ({ text: String(value), value })),
      fc.tuple(tie('node'), fc.constantFrom('+', '-', '*', '/'), tie('node')).map(([a, op, b]) => ({
        text: `(${a.text} ${op} ${b.text})`,
        value: { '+': a.value + b.value, '-': a.value - b.value, '*': a.value * b.value, '/': a.value / b.value }[op]!,
      })),
      tie('node').map((a) => ({ text: `-${a.text}`, value: -a.value })),
    ),
  }),
).node;

describe('expressions', () => {
  test('have the value that f64 gives, as an exact fraction', () => {
    fc.assert(
      fc.property(expression, ({ text, value }) => {
        const found = parseExpression(text);
        if (text.length > 200) return expect(found).toBeUndefined();
        if (!Number.isFinite(value)) return;
        // A division by something that is zero only exactly, or only in f64, says nothing.
        if (!found) return;
        const { numerator, denominator } = found.value;
        expect(Number(numerator) / Number(denominator)).toBeCloseTo(value, 6);
      }),
    );
  });

  test.each([
    ['1 + 2 * 3', 7n, 1n],
    ['(1 + 2) * 3', 9n, 1n],
    ['8 / 3 / 2', 4n, 3n],
    ['1 - 2 - 3', -4n, 1n],
    ['--3', 3n, 1n],
    ['2*-3', -6n, 1n],
    ['6/-4', -3n, 2n],
  ])('%s', (text, numerator, denominator) => {
    expect(parseExpression(text)?.value).toEqual({ numerator, denominator });
  });

  test.each([
    '',
    '1 +',
    '(1',
    '1)',
    '1 2',
    'a',
    '1 / 0',
    '1 / (2 - 2)',
    '2 ** 3',
    '1.5',
    '1e3',
    'process.exit()',
    '('.repeat(300),
  ])('%j is none', (text) => expect(parseExpression(text)).toBeUndefined());

  test('the numbers that stand in it', () => {
    expect(parseExpression('(3 + 4) * 3 - 12')?.numbers).toEqual([3, 4, 3, 12]);
  });
});

/** Whether numbers reach a target, by trying everything: the game's definition. */
function canReach(numbers: readonly number[], target: number): boolean {
  if (numbers.some((value) => Math.abs(value - target) < 1e-9)) return true;
  for (let i = 0; i < numbers.length; i++) {
    for (let j = 0; j < numbers.length; j++) {
      if (i === j) continue;
      const rest = numbers.filter((_, k) => k !== i && k !== j);
      const [a, b] = [numbers[i]!, numbers[j]!];
      for (const value of [a + b, a - b, a * b, ...(b === 0 ? [] : [a / b])]) {
        if (canReach([...rest, value], target)) return true;
      }
    }
  }
  return false;
}

describe('countdown', () => {
  test('every target can be reached', async () => {
    const task = await open({ name: 'countdown', numbers: 3 });
    await fc.assert(
      fc.asyncProperty(index, split, async (i, part) => {
        const { data } = await task.problem(i, part);
        const { numbers, target } = data as { numbers: number[]; target: number };
        expect(numbers).toHaveLength(3);
        expect(target).toBeGreaterThan(0);
        expect(canReach(numbers, target)).toBe(true);
      }),
    );
  });

  test.each([
    ['#### (8 - 2) * 5', 1],
    ['I try.\n#### 5 * (8 - 2)', 1],
    ['#### 8 + 2', 0.1],
    ['#### 5 * 5 + 5', 0],
    ['#### 30', 0],
    ['#### 5 * 8 - 2 * 5', 0],
    ['5 * (8 - 2)', 0],
    ['####', 0],
  ])('30 of 2, 5 and 8: %j is worth %d', async (text, reward) => {
    const task = await open({ name: 'countdown' });
    const problem = { id: '', messages: [], data: { numbers: [2, 5, 8], target: 30 } };
    expect(await task.verify(problem, response(text))).toEqual({ reward, correct: reward === 1 });
  });
});

describe('strings', () => {
  const expected: Record<string, (word: string) => string> = {
    Reverse: (word) => word.split('').reduce((all, letter) => letter + all, ''),
    'Write in capital letters': (word) =>
      word.replace(/[a-z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) - 32)),
    'Sort the letters of': (word) =>
      word
        .split('')
        .sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0))
        .join(''),
    'Write every letter twice in': (word) => word.replace(/./g, '$&$&'),
    'Leave the vowels out of': (word) => word.split(/[aeiou]/).join(''),
    'Move the first letter to the end of': (word) => word.replace(/^(.)(.*)$/, '$2$1'),
    'How many letters has': (word) => `${word.length}`,
  };

  test('the answer is what another program makes of the word', async () => {
    const task = await open({ name: 'strings' });
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(index, split, async (i, part) => {
        const problem = await task.problem(i, part);
        const [, asked, word] = /^(.*) ([a-z]+)\. End/.exec(problem.messages[0]!.content)!;
        seen.add(asked!);
        const answer = expected[asked!]!(word!);
        expect(await task.verify(problem, response(`#### ${answer}`))).toEqual({ reward: 1, correct: true });
        expect(await task.verify(problem, response(`#### ${answer}x`))).toEqual({ reward: 0, correct: false });
      }),
      { numRuns: 300 },
    );
    expect(seen.size).toBe(7);
  });
});

describe('calculator', () => {
  test('computes what it is asked, so often and no more', async () => {
    const task = await open({ name: 'calculator', turns: 2 });
    const problem = await task.problem(0, 'train');
    const asked = 'CALC: 3 * (14 - 2)';
    expect(task.respond!(problem, response(asked))).toBe('36');
    expect(task.respond!(problem, response('So:\nCALC: 1 / 3', ['x']))).toBe('1/3');
    expect(task.respond!(problem, response('CALC: 1 +'))).toBe('That is no expression.');
    expect(task.respond!(problem, response(asked, ['x', 'y']))).toBeUndefined();
    expect(task.respond!(problem, response('#### 3'))).toBeUndefined();
    expect(await task.verify(problem, response(`#### ${problem.data}`))).toEqual({ reward: 1, correct: true });
  });
});

test.each([{ name: 'arithmetic' }, { name: 'countdown' }, { name: 'strings' }, { name: 'calculator' }])(
  '$name: problems follow from seed, index and split, and splits differ',
  async (task) => {
    const [a, again, other] = [await open(task, 1), await open(task, 1), await open(task, 2)];
    const list = (environment: Environment, part: 'train' | 'held-out') =>
      Promise.all(Array.from({ length: 20 }, (_, i) => environment.problem(i, part)));
    const asked = async (environment: Environment, part: 'train' | 'held-out') =>
      (await list(environment, part)).map(({ messages }) => messages[0]!.content);
    expect(await list(a, 'train')).toEqual(await list(again, 'train'));
    expect(await asked(a, 'train')).not.toEqual(await asked(other, 'train'));
    expect(await asked(a, 'train')).not.toEqual(await asked(a, 'held-out'));
  },
);

test.each([
  [{ name: 'aritmetic' }, /task\.name.*arithmetic.*countdown/],
  [{ name: 'arithmetic', kind: ['addition'] }, /unknown field kind/],
  [{ name: 'arithmetic', difficulties: [5] }, /task\.difficulties/],
  [{ name: 'countdown', numbers: 1 }, /task\.numbers/],
  [{ module: '' }, /task\.module/],
  [{ module: './a.mjs', optionz: 1 }, /optionz/],
])('%j is refused', (task, message) => {
  expect(() => parseTask(task)).toThrow(
    expect.objectContaining({ code: 'rl-config-invalid', message: expect.stringMatching(message) }),
  );
});
