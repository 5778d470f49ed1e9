import { QuaverError } from '@quaver/numerics';
import { Draws } from './draws.ts';
import { addition, comparison, multiplication, subtraction } from './kinds/arithmetic.ts';
import { twoStep } from './kinds/two-step.ts';
import { word } from './kinds/word.ts';
import {
  type Difficulty,
  type Draft,
  difficulties,
  type Kind,
  kinds,
  type Problem,
  type Split,
  splits,
} from './problem.ts';
import { splitOf } from './split.ts';
import { answerMark } from './verify.ts';

export interface ProblemOptions {
  /** Kinds to draw from, evenly; default all. */
  readonly kinds?: readonly Kind[];
  /** Difficulties to draw from, evenly; default 1, 2 and 3. */
  readonly difficulties?: readonly Difficulty[];
}

const draft: Readonly<Record<Kind, (draws: Draws, difficulty: Difficulty) => Draft>> = {
  addition,
  subtraction,
  multiplication,
  'two-step': twoStep,
  comparison,
  word,
};

/** Problems drawn before giving up; a split holds at least one in a hundred of each kind and difficulty. */
const mostAttempts = 10_000;

/**
 * Problem `index` of the endless list that `seed` gives for a split. It depends on nothing else, and problems of different
 * splits differ in more than words, whatever the seeds.
 * @param seed an integer from 0
 * @param index an integer from 0
 * @throws QuaverError `arithmetic-option`, `arithmetic-split-empty`
 */
export function generateProblem(seed: number, index: number, split: Split, options: ProblemOptions = {}): Problem {
  const { kinds: wanted = kinds, difficulties: levels = [1, 2, 3] } = options;
  check('seed', Number.isSafeInteger(seed) && seed >= 0, seed, 'an integer from 0');
  check('index', Number.isSafeInteger(index) && index >= 0, index, 'an integer from 0');
  check('split', splits.includes(split), split, splits.join(', '));
  checkList('kinds', wanted, kinds);
  checkList('difficulties', levels, difficulties);
  const draws = new Draws(seed, index);
  for (let attempt = 0; attempt < mostAttempts; attempt++) {
    const [kind, difficulty] = [draws.pick(wanted), draws.pick(levels)];
    const { key, prompt, steps, answer } = draft[kind](draws, difficulty);
    if (splitOf(key) !== split) continue;
    return { kind, difficulty, prompt, answer, response: [...steps, `${answerMark}${answer}`].join('\n') };
  }
  throw new QuaverError('arithmetic-split-empty', `no problem of these kinds and difficulties is in split '${split}'`, {
    hint: 'Allow more kinds or difficulties.',
    where: { kinds: wanted.join(', '), difficulties: levels.join(', ') },
  });
}

function checkList<T>(option: string, found: readonly T[], known: readonly T[]): void {
  const holds = Array.isArray(found) && found.length > 0 && found.every((item) => known.includes(item));
  check(option, holds, JSON.stringify(found), `some of ${known.join(', ')}`);
}

function check(option: string, holds: boolean, found: unknown, expected: string): void {
  if (holds) return;
  throw new QuaverError('arithmetic-option', `${option} is ${String(found)}, expected ${expected}`, {
    where: { option },
  });
}
