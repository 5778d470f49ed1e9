/** @file A task of several turns: the model may have expressions computed before it answers. */
import { generateProblem, isCorrect } from '@quaver/model-arithmetic';
import { z } from 'zod';
import { difficultyList } from './arithmetic.ts';
import { defineTask, type TaskDefinition } from './define-task.ts';
import { parseExpression } from './expression.ts';

export const calculator: TaskDefinition = defineTask({
  name: 'calculator',
  summary: 'Arithmetic problems with a calculator: a last line `CALC: 3 * 14` is answered with its value.',
  options: {
    difficulties: difficultyList.default([3, 4]),
    /** How often it may be asked. */
    turns: z.int().min(1).max(8).default(2),
  },
  open: ({ difficulties, turns }, seed) => ({
    problem(index, split) {
      const { prompt, answer } = generateProblem(seed, index, split, { difficulties });
      const content = `${prompt}\nA last line "CALC: " with an expression is computed for you. End with a line "#### " and the answer.`;
      return { id: `calculator ${split} ${index}`, messages: [{ role: 'user', content }], data: answer };
    },
    respond(_problem, { text, messages }) {
      const asked = /(?:^|\n)CALC:([^\n]*)\s*$/.exec(text)?.[1];
      const turn = messages.filter(({ role }) => role === 'assistant').length;
      if (asked === undefined || turn > turns) return undefined;
      const found = parseExpression(asked);
      if (!found) return 'That is no expression.';
      const { numerator, denominator } = found.value;
      return denominator === 1n ? String(numerator) : `${numerator}/${denominator}`;
    },
    verify({ data }, { text }) {
      const correct = isCorrect({ answer: Number(data) }, text);
      return { reward: correct ? 1 : 0, correct };
    },
  }),
});
