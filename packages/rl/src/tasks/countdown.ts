/** @file The numbers game: reach a target with given numbers, each used at most once. */
import { z } from 'zod';
import { defineTask, type TaskDefinition } from './define-task.ts';
import { ProblemDraws } from './draws.ts';
import { parseExpression } from './expression.ts';

export const countdown: TaskDefinition = defineTask({
  name: 'countdown',
  summary: 'Reach a target with the given numbers, each used at most once, and + - * /; every target can be reached.',
  options: {
    /** How many numbers are given. */
    numbers: z.int().min(2).max(6).default(4),
    largest: z.int().min(2).max(1000).default(20),
    /** Worth of an expression that uses the numbers rightly and has another value. */
    form: z.number().min(0).lt(1).default(0.1),
  },
  open: ({ numbers: count, largest, form }, seed) => ({
    problem(index, split) {
      const draws = new ProblemDraws(seed, index, split);
      const numbers = Array.from({ length: count }, () => draws.integer(1, largest));
      const target = reachable(numbers, draws);
      return {
        id: `countdown ${split} ${index}`,
        messages: [
          {
            role: 'user',
            content: `Reach ${target} with ${numbers.join(', ')}. Use each number at most once, with + - * / and parentheses. End with a line "#### " and the expression.`,
          },
        ],
        data: { numbers, target },
      };
    },
    verify({ data }, { text }) {
      const { numbers, target } = data as { readonly numbers: number[]; readonly target: number };
      const expression = parseExpression(lastAnswer(text) ?? '');
      if (!expression || !isPartOf(expression.numbers, numbers)) return { reward: 0, correct: false };
      const { numerator, denominator } = expression.value;
      const correct = denominator === 1n && numerator === BigInt(target);
      return { reward: correct ? 1 : form, correct };
    },
  }),
});

/** What stands behind the last `####`, up to the end of its line. */
function lastAnswer(text: string): string | undefined {
  return /####\s*([^\n]*?)\s*$/.exec(text)?.[1];
}

/** A whole number above 0 that the numbers make, most often all of them, in a random way. */
function reachable(numbers: readonly number[], draws: ProblemDraws): number {
  const values = [...numbers];
  while (values.length > 1) {
    const a = values.splice(draws.integer(0, values.length - 1), 1)[0]!;
    const b = values.splice(draws.integer(0, values.length - 1), 1)[0]!;
    const [large, small] = a > b ? [a, b] : [b, a];
    const results = [large + small, large * small];
    if (large > small) results.push(large - small);
    if (large % small === 0) results.push(large / small);
    const small1000 = results.filter((value) => value <= 1000);
    // Where all are too large, the larger number is left unused.
    values.push(small1000.length > 0 ? draws.pick(small1000) : small);
  }
  return values[0]!;
}

/** Whether the numbers can be taken out of the given ones. */
function isPartOf(used: readonly number[], given: readonly number[]): boolean {
  const left = [...given];
  return used.every((number) => {
    const at = left.indexOf(number);
    if (at < 0) return false;
    left.splice(at, 1);
    return true;
  });
}
