/** @file Expressions with two operations: precedence and brackets. Nothing in them is negative. */
import type { Draws } from '../draws.ts';
import type { Difficulty, Draft } from '../problem.ts';

/** The largest term and the largest factor. */
const sizes: Readonly<Record<Difficulty, { readonly term: number; readonly factor: number }>> = {
  1: { term: 10, factor: 5 },
  2: { term: 50, factor: 9 },
  3: { term: 99, factor: 9 },
  4: { term: 999, factor: 12 },
};

/** An expression, the two equations that give its value, and its key: terms of a sum and factors in order of size. */
interface Expression {
  readonly text: string;
  readonly steps: readonly [string, string];
  readonly value: number;
  readonly key: string;
}

type Form = (draws: Draws, term: number, factor: number) => Expression;

const sorted = (...numbers: number[]) => numbers.sort((a, b) => a - b).join(' ');

const forms: readonly Form[] = [
  (draws, term) => {
    const [a, b, c] = [draws.integer(1, term), draws.integer(1, term), draws.integer(1, term)];
    const [first, value] = [a + b, a + b + c];
    const steps = [`${a}+${b}=${first}`, `${first}+${c}=${value}`] as const;
    return { text: `${a} + ${b} + ${c}`, steps, value, key: `sum ${sorted(a, b, c)}` };
  },
  (draws, term) => {
    const [a, b] = [draws.integer(1, term), draws.integer(1, term)];
    const first = a + b;
    const c = draws.integer(1, first);
    const steps = [`${a}+${b}=${first}`, `${first}-${c}=${first - c}`] as const;
    return { text: `${a} + ${b} - ${c}`, steps, value: first - c, key: `sum ${sorted(a, b)} less ${c}` };
  },
  (draws, term, factor) => {
    const [a, b, c] = [draws.integer(1, term), draws.integer(1, term), draws.integer(2, factor)];
    const [first, value] = [a + b, (a + b) * c];
    const steps = [`${a}+${b}=${first}`, `${first}*${c}=${value}`] as const;
    return { text: `(${a} + ${b}) * ${c}`, steps, value, key: `sum ${sorted(a, b)} times ${c}` };
  },
  (draws, term, factor) => {
    const [a, b, c] = [draws.integer(1, term), draws.integer(2, factor), draws.integer(2, factor)];
    const [first, value] = [b * c, a + b * c];
    const steps = [`${b}*${c}=${first}`, `${a}+${first}=${value}`] as const;
    return { text: `${a} + ${b} * ${c}`, steps, value, key: `product ${sorted(b, c)} more ${a}` };
  },
  (draws, term, factor) => {
    const [a, b] = [draws.integer(2, factor), draws.integer(2, term)];
    const first = a * b;
    const c = draws.integer(1, first);
    const steps = [`${a}*${b}=${first}`, `${first}-${c}=${first - c}`] as const;
    return { text: `${a} * ${b} - ${c}`, steps, value: first - c, key: `product ${sorted(a, b)} less ${c}` };
  },
  (draws, term, factor) => {
    const [a, b] = [draws.integer(2, factor), draws.integer(2, term)];
    const c = draws.integer(1, b - 1);
    const [first, value] = [b - c, a * (b - c)];
    const steps = [`${b}-${c}=${first}`, `${a}*${first}=${value}`] as const;
    return { text: `${a} * (${b} - ${c})`, steps, value, key: `difference ${b} ${c} times ${a}` };
  },
];

export function twoStep(draws: Draws, difficulty: Difficulty): Draft {
  const { term, factor } = sizes[difficulty];
  const { text, steps, value, key } = draws.pick(forms)(draws, term, factor);
  return { prompt: `${text} = ?`, steps, answer: value, key };
}
