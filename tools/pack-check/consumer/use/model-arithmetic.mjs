import { generateProblem, isCorrect, parseAnswer } from '@quaver/model-arithmetic';
import { modelPath } from '@quaver/model-arithmetic/node';
import { readModule } from '@quaver/sdk/node';

export default async () => {
  const problem = generateProblem(0, 0, 'train', { kinds: ['addition'], difficulties: [1] });
  const [a, b] = problem.prompt.split(' + ').map(Number.parseFloat);
  const model = await readModule(modelPath());
  await model.close();
  return [a + b - problem.answer, isCorrect(problem, problem.response), parseAnswer('2+2=4\n#### 4'), model.name];
};

/** The answer is the sum, and the response says so; the model is in the package. */
export const expected = [0, true, 4, 'arithmetic'];
