import { generateProblem, isCorrect, type Problem } from '@quaver/model-arithmetic';
import { QuaverError } from '@quaver/numerics';
import type { RlConfig } from '../config/config-types.ts';
import type { ProblemSplit, RlProblem, RlTask } from '../tasks/environment.ts';

/** Opens the task of a configuration. */
export async function openTask({ task, seed }: RlConfig): Promise<RlTask> {
  if (!('name' in task) || task.name !== 'arithmetic') {
    throw new QuaverError('rl-config-invalid', `task: unknown`, { hint: 'arithmetic' });
  }
  const problemOf = (index: number, split: ProblemSplit): RlProblem => {
    const problem: Problem = generateProblem(seed, index, split);
    return {
      id: `${split} ${index}`,
      messages: [{ role: 'user', content: problem.prompt }],
      data: { answer: problem.answer },
    };
  };
  return {
    problems: async (first, count) => Array.from({ length: count }, (_, i) => problemOf(first + i, 'train')),
    heldOut: async (count) => Array.from({ length: count }, (_, i) => problemOf(i, 'held-out')),
    verify: async ({ data }, { text }) => {
      const correct = isCorrect(data as { answer: number }, text);
      return { status: 'ok', reward: correct ? 1 : 0, correct };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
