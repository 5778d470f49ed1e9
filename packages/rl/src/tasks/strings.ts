/** @file Words that are to be changed by a rule. */
import { z } from 'zod';
import { defineTask, type TaskDefinition } from './define-task.ts';
import { ProblemDraws } from './draws.ts';

const letters = 'abcdefghijklmnopqrstuvwxyz';

/** What is asked, and what the answer is. */
const transformations = {
  reverse: ['Reverse', (word: string) => [...word].reverse().join('')],
  uppercase: ['Write in capital letters', (word: string) => word.toUpperCase()],
  sort: ['Sort the letters of', (word: string) => [...word].sort().join('')],
  double: ['Write every letter twice in', (word: string) => [...word].map((letter) => letter + letter).join('')],
  'drop-vowels': ['Leave the vowels out of', (word: string) => word.replaceAll(/[aeiou]/g, '')],
  rotate: ['Move the first letter to the end of', (word: string) => word.slice(1) + word[0]],
  count: ['How many letters has', (word: string) => String(word.length)],
} as const satisfies Record<string, readonly [string, (word: string) => string]>;

type Rule = keyof typeof transformations;
const rules = Object.keys(transformations) as [Rule, ...Rule[]];

export const strings: TaskDefinition = defineTask({
  name: 'strings',
  summary: 'Reverse, sort, double, count … the letters of a random word; the answer is the last line, behind `#### `.',
  options: {
    rules: z.array(z.enum(rules)).min(1).default(rules),
    shortest: z.int().min(1).max(50).default(3),
    longest: z.int().min(1).max(50).default(8),
  },
  open: ({ rules: wanted, shortest, longest }, seed) => ({
    problem(index, split) {
      const draws = new ProblemDraws(seed, index, split);
      const rule = draws.pick(wanted);
      const length = draws.integer(shortest, Math.max(shortest, longest));
      // A consonant first: without vowels, too, something is left.
      const word = Array.from({ length }, (_, i) => draws.pick([...(i === 0 ? 'bcdfgklmnprst' : letters)])).join('');
      const [asked, change] = transformations[rule];
      return {
        id: `strings ${split} ${index}`,
        messages: [{ role: 'user', content: `${asked} ${word}. End with a line "#### " and the answer.` }],
        data: change(word),
      };
    },
    verify({ data }, { text }) {
      const correct = /####\s*(\S+)\s*$/.exec(text)?.[1] === data;
      return { reward: correct ? 1 : 0, correct };
    },
  }),
});
