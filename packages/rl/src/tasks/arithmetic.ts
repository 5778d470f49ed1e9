/** @file Problems of the bundled model: `47 + 85 = ?`, with the answer behind `####`. */
import { type Difficulty, difficulties, generateProblem, isCorrect, type Kind, kinds } from '@quaver/model-arithmetic';
import { z } from 'zod';
import { defineTask, type TaskDefinition } from './define-task.ts';

/** How large the numbers are, as `@quaver/model-arithmetic` counts it. */
export const difficultyList: z.ZodType<Difficulty[]> = z
  .array(z.int().min(difficulties[0]).max(difficulties.at(-1)!) as unknown as z.ZodType<Difficulty>)
  .min(1);

export const arithmetic: TaskDefinition = defineTask({
  name: 'arithmetic',
  summary: 'Sums, products, comparisons and word problems; the last line of an answer is `#### ` and the number.',
  options: {
    kinds: z
      .array(z.enum(kinds as unknown as [Kind, ...Kind[]]))
      .min(1)
      .default([...kinds]),
    difficulties: difficultyList.default([1, 2, 3]),
    /** Worth of an answer that is wrong but in the right form. */
    form: z.number().min(0).lt(1).default(0),
  },
  open: ({ kinds: wanted, difficulties: levels, form }, seed) => ({
    problem(index, split) {
      const options = { kinds: wanted, difficulties: levels };
      const { prompt, answer } = generateProblem(seed, index, split, options);
      return { id: `arithmetic ${split} ${index}`, messages: [{ role: 'user', content: prompt }], data: answer };
    },
    verify({ data }, { text }) {
      const correct = isCorrect({ answer: Number(data) }, text);
      return { reward: correct ? 1 : /\n?#### -?\d+\s*$/.test(text) ? form : 0, correct };
    },
  }),
});
