import { generateProblem, isCorrect, parseAnswer } from '@quaver/model-arithmetic';

export default () => {
  const problem = generateProblem(0, 0, 'train', { kinds: ['addition'], difficulties: [1] });
  const [a, b] = problem.prompt.split(' + ').map(Number.parseFloat);
  return [a + b - problem.answer, isCorrect(problem, problem.response), parseAnswer('2+2=4\n#### 4')];
};

/** The answer is the sum, and the response says so. */
export const expected = [0, true, 4];
