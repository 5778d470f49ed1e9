import { MismatchAccumulator, parseAlgorithm, parseExpression } from '@quaver/rl';
import { openTask } from '@quaver/rl/node';

/** What a verifier says in the thread of its own, which is a file of the package. */
async function verdicts() {
  const reward = { workers: 1, timeout_ms: 5000, memory_mb: 128 };
  const task = await openTask({ task: { name: 'arithmetic', difficulties: [1] }, seed: 0, reward });
  const [problem] = await task.problems(0, 1);
  const say = (text) => ({ text, tokens: [1], stopReason: 'eos', messages: [{ role: 'assistant', content: text }] });
  const found = [await task.verify(problem, say(`#### ${problem.data}`)), await task.verify(problem, say('no idea'))];
  await task[Symbol.asyncDispose]();
  return found;
}

export default async () => {
  const mismatch = new MismatchAccumulator();
  mismatch.add([-1, -2], [-1, -2]);
  return [
    parseAlgorithm({ name: 'grpo' }).plan.objective.inputs,
    parseExpression('1 / 3 + 1 / 6')?.value,
    mismatch.metrics().token_mult_prob_error,
    ...(await verdicts()),
  ];
};

export const expected = [
  ['advantages', 'old_logprobs', 'correction'],
  { numerator: 1n, denominator: 2n },
  1,
  { status: 'ok', reward: 1, correct: true },
  { status: 'ok', reward: 0, correct: false },
];
