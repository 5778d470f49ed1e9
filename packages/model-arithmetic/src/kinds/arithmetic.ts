/** @file Problems of two numbers. */
import type { Draws } from '../draws.ts';
import type { Difficulty, Draft } from '../problem.ts';
import { additionSteps, multiplicationSteps, subtractionSteps } from './columns.ts';

type Range = readonly [least: number, most: number];

const sumRanges: Readonly<Record<Difficulty, Range>> = { 1: [0, 20], 2: [10, 99], 3: [100, 999], 4: [1000, 9999] };

/** First and second factor. */
const factorRanges: Readonly<Record<Difficulty, readonly [Range, Range]>> = {
  1: [
    [0, 12],
    [0, 12],
  ],
  2: [
    [13, 99],
    [2, 9],
  ],
  3: [
    [100, 999],
    [2, 9],
  ],
  4: [
    [13, 99],
    [13, 99],
  ],
};

const keyOf = (sign: string, a: number, b: number) => `${Math.min(a, b)}${sign}${Math.max(a, b)}`;

export function addition(draws: Draws, difficulty: Difficulty): Draft {
  const range = sumRanges[difficulty];
  const [a, b] = [draws.integer(...range), draws.integer(...range)];
  return { prompt: `${a} + ${b} = ?`, steps: additionSteps(a, b), answer: a + b, key: keyOf('+', a, b) };
}

/** From difficulty 3 on, half of the results are negative: the smaller number is taken from the larger all the same. */
export function subtraction(draws: Draws, difficulty: Difficulty): Draft {
  const range = sumRanges[difficulty];
  const drawn = [draws.integer(...range), draws.integer(...range)] as const;
  const [a, b] = difficulty >= 3 ? drawn : [Math.max(...drawn), Math.min(...drawn)];
  const steps = subtractionSteps(Math.max(a, b), Math.min(a, b));
  return { prompt: `${a} - ${b} = ?`, steps, answer: a - b, key: keyOf('-', a, b) };
}

export function multiplication(draws: Draws, difficulty: Difficulty): Draft {
  const [first, second] = factorRanges[difficulty];
  const [a, b] = [draws.integer(...first), draws.integer(...second)];
  const [left, right] = draws.pick([
    [a, b],
    [b, a],
  ] as const);
  return { prompt: `${left} * ${right} = ?`, steps: multiplicationSteps(a, b), answer: a * b, key: keyOf('*', a, b) };
}

/** From difficulty 3 on, the numbers often begin with the same digits. */
export function comparison(draws: Draws, difficulty: Difficulty): Draft {
  const [least, most] = sumRanges[difficulty];
  const a = draws.integer(least, most);
  const near = difficulty >= 3 && draws.pick([true, false]);
  const shift = draws.integer(1, near ? 30 : most - least);
  const b = least + ((a - least + shift) % (most - least + 1));
  const word = draws.pick(['larger', 'smaller'] as const);
  const answer = word === 'larger' ? Math.max(a, b) : Math.min(a, b);
  return { prompt: `Which is ${word}, ${a} or ${b}?`, steps: [], answer, key: keyOf('?', a, b) };
}
