import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  difficulties,
  generateProblem,
  isCorrect,
  type Kind,
  kinds,
  type Problem,
  parseAnswer,
  type Split,
  splits,
} from '../src/index.ts';
import { additionSteps, multiplicationSteps, subtractionSteps } from '../src/kinds/columns.ts';
import { splitOf } from '../src/split.ts';
import { evaluate, solve } from './support/solve.ts';

const seed = fc.maxSafeNat();
const split = fc.constantFrom(...splits);
const options = fc.record(
  {
    kinds: fc.uniqueArray(fc.constantFrom(...kinds), { minLength: 1 }),
    difficulties: fc.uniqueArray(fc.constantFrom(...difficulties), { minLength: 1 }),
  },
  { requiredKeys: [] },
);

test('the solver of the tests knows what is known', () => {
  expect(['2 + 3 * 4', '(2 + 3) * 4', '7 - 2 - 3', '2 * (9 - 4)', '-3 + 5'].map(evaluate)).toEqual([
    14n,
    20n,
    2n,
    10n,
    2n,
  ]);
  expect(solve('Tom has 3 apples and buys 4 more. How many apples does Tom have?')).toBe(7n);
  expect(solve('Which is smaller, 19 or 49?')).toBe(19n);
  expect(() => solve('How old is Tom?')).toThrow('0 readings');
});

describe('every problem', () => {
  test('has the answer that reading its prompt gives, and working of true equations', () => {
    fc.assert(
      fc.property(seed, seed, split, options, (s, index, of, chosen) => {
        const problem = generateProblem(s, index, of, chosen);
        expect(BigInt(problem.answer)).toBe(solve(problem.prompt));
        const lines = problem.response.split('\n');
        expect(lines.pop()).toBe(`#### ${problem.answer}`);
        for (const line of lines) {
          const [left, right] = line.split('=');
          expect(evaluate(left!).toString()).toBe(right);
        }
        expect(isCorrect(problem, problem.response)).toBe(true);
        expect(chosen.kinds ?? kinds).toContain(problem.kind);
        expect(chosen.difficulties ?? [1, 2, 3]).toContain(problem.difficulty);
      }),
      { numRuns: 2000 },
    );
  });

  test('is the same again, and another one for another index or seed', () => {
    fc.assert(
      fc.property(seed, split, (s, of) => {
        const first = Array.from({ length: 20 }, (_, i) => generateProblem(s, i, of));
        expect(Array.from({ length: 20 }, (_, i) => generateProblem(s, i, of))).toEqual(first);
        expect(new Set(first.map(({ prompt }) => prompt)).size).toBeGreaterThan(10);
        expect(generateProblem((s + 1) % 2 ** 53, 0, of, { kinds: ['word'] })).not.toEqual(
          generateProblem(s, 0, of, { kinds: ['word'] }),
        );
      }),
    );
  });
});

test('the working ends in the answer', () => {
  const last = ({ response }: Problem) => response.split('\n').at(-2)?.split('=')[1];
  for (let index = 0; index < 500; index++) {
    const problem = generateProblem(4, index, 'train', { kinds: ['two-step', 'word'], difficulties });
    expect(last(problem)).toBe(String(problem.answer));
    const product = generateProblem(4, index, 'train', { kinds: ['multiplication'], difficulties: [2, 3, 4] });
    expect(last(product)).toBe(String(product.answer));
  }
});

describe('the written method', () => {
  // Worked by hand.
  test.each([
    [additionSteps(47, 85), ['7+5=12', '4+8+1=13']],
    [additionSteps(21, 34), ['1+4=5', '2+3=5']],
    [additionSteps(999, 1), ['9+1=10', '9+0+1=10', '9+0+1=10']],
    [additionSteps(7, 8), []],
    [subtractionSteps(83, 47), ['13-7=6', '8-4-1=3']],
    [subtractionSteps(58, 23), ['8-3=5', '5-2=3']],
    [subtractionSteps(100, 1), ['10-1=9', '10-0-1=9', '1-0-1=0']],
    [multiplicationSteps(47, 7), ['40*7=280', '7*7=49', '280+49=329']],
    [multiplicationSteps(305, 2), ['300*2=600', '5*2=10', '600+10=610']],
    [multiplicationSteps(40, 3), ['40*3=120']],
    [multiplicationSteps(12, 12), []],
  ])('%j', (found, expected) => {
    expect(found).toEqual(expected);
  });

  test('the last digits of the columns are the result, from below', () => {
    const number = fc.integer({ min: 0, max: 9999 });
    fc.assert(
      fc.property(number, number, (a, b) => {
        const [large, small] = [Math.max(a, b), Math.min(a, b)];
        const read = (steps: readonly string[]) =>
          Number(
            steps
              .map((step) => step.split('=')[1]!)
              .map((value, i) => (i === steps.length - 1 ? value : value.slice(-1)))
              .reverse()
              .join(''),
          );
        if (large < 10) expect([...additionSteps(a, b), ...subtractionSteps(large, small)]).toEqual([]);
        else {
          expect(read(additionSteps(a, b))).toBe(a + b);
          expect(read(subtractionSteps(large, small))).toBe(large - small);
        }
      }),
    );
  });
});

describe('splits', () => {
  /** What makes two prompts the same problem: the numbers, and for stories the sentences without the cast. */
  function essence(prompt: string): string {
    const numbers = prompt.match(/\d+/g)!.map(Number);
    const sign = /^\d+ ([-+*]) \d+ = \?$/.exec(prompt)?.[1] ?? (prompt.startsWith('Which') ? '?' : undefined);
    if (sign) return [sign, ...numbers.sort((a, b) => a - b)].join(' ');
    if (prompt.endsWith('= ?')) return prompt;
    const verbs = prompt.match(/buys \d+ more|gives|There are|together|loses|buys \d+ \w+ with|coins each/)![0];
    return [verbs.replace(/\d+ (?!more)\w+|\d+/, 'n'), ...numbers].join(' ');
  }

  const drawn = new Map<Split, Problem[]>(
    splits.map((of, s) => [
      of,
      Array.from({ length: 12_000 }, (_, index) => generateProblem(s, index, of, { difficulties })),
    ]),
  );

  test('have no problem in common, in whatever words', () => {
    const home = new Map<string, Split>();
    for (const [of, problems] of drawn) {
      for (const { prompt } of problems) {
        const key = essence(prompt);
        expect(home.get(key) ?? of, prompt).toBe(of);
        home.set(key, of);
      }
    }
  });

  test('have none in common for any seeds', () => {
    const small = { kinds: ['addition', 'multiplication', 'comparison'] as Kind[], difficulties: [1 as const] };
    fc.assert(
      fc.property(seed, seed, (a, b) => {
        const prompts = (s: number, of: Split) =>
          Array.from({ length: 25 }, (_, index) => essence(generateProblem(s, index, of, small).prompt));
        const held = new Set(prompts(a, 'held-out'));
        const validation = new Set(prompts(b, 'validation'));
        expect(prompts(b, 'train').filter((key) => held.has(key) || validation.has(key))).toEqual([]);
        expect([...held].filter((key) => validation.has(key))).toEqual([]);
      }),
    );
  });

  test.each(kinds)('hold problems of every difficulty: %s', (kind) => {
    for (const of of splits) {
      for (const difficulty of difficulties) {
        const { prompt } = generateProblem(1, 0, of, { kinds: [kind], difficulties: [difficulty] });
        expect(prompt).not.toBe('');
      }
    }
  });

  test.each(splits)('mix kinds and difficulties evenly: %s', (of) => {
    const problems = drawn.get(of)!;
    for (const kind of kinds) {
      const share = problems.filter((problem) => problem.kind === kind).length / problems.length;
      expect(share).toBeGreaterThan(0.11);
      expect(share).toBeLessThan(0.22);
    }
  });

  test('hold 90, 5 and 5 of 100 problems', () => {
    const count = 20_000;
    const found = { train: 0, validation: 0, 'held-out': 0 };
    for (let i = 0; i < count; i++) found[splitOf(`${i % 141}+${i}`)]++;
    const within = (share: number, expected: number) =>
      expect(Math.abs(share - expected)).toBeLessThan(4 * Math.sqrt((expected * (1 - expected)) / count));
    within(found.train / count, 0.9);
    within(found.validation / count, 0.05);
    within(found['held-out'] / count, 0.05);
  });
});

test.each([
  ['#### 42', 42],
  ['1+1=2\n#### 2', 2],
  ['#### -17', -17],
  ['#### 0\n', 0],
  ['#### 123456789012345', 123456789012345],
  ['42', undefined],
  ['', undefined],
  ['#### ', undefined],
  ['####42', undefined],
  ['#### 042', undefined],
  ['#### -0', undefined],
  ['#### 4.5', undefined],
  ['#### 4 apples', undefined],
  ['#### 1e3', undefined],
  ['so #### 4', undefined],
  ['#### 4\nor so', undefined],
  ['#### 3\n#### 4', undefined],
  ['##### 4', undefined],
  ['#### 1234567890123456', undefined],
])('the answer of %j is %s', (text, answer) => {
  expect(parseAnswer(text)).toBe(answer);
});

test('no text is a failure, and only the answer counts', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer(), (text, answer) => {
      parseAnswer(text);
      expect(isCorrect({ answer }, `${text.replaceAll('#', '')}\n#### ${answer}`)).toBe(true);
      expect(isCorrect({ answer }, `${text.replaceAll('#', '')}\n#### ${answer + 1}`)).toBe(false);
    }),
  );
});

test.each([
  [() => generateProblem(-1, 0, 'train'), 'seed is -1'],
  [() => generateProblem(0, 1.5, 'train'), 'index is 1.5'],
  [() => generateProblem(0, 0, 'test' as Split), 'split is test, expected train, validation, held-out'],
  [() => generateProblem(0, 0, 'train', { kinds: [] }), 'kinds is []'],
  [() => generateProblem(0, 0, 'train', { kinds: ['algebra' as Kind] }), 'kinds is ["algebra"]'],
  [
    () => generateProblem(0, 0, 'train', { difficulties: [5 as 4] }),
    'difficulties is [5], expected some of 1, 2, 3, 4',
  ],
])('wrong options are named: %s', (run, message) => {
  expect(run).toThrow(message);
  expect(run).toThrow(expect.objectContaining({ code: 'arithmetic-option' }));
});
