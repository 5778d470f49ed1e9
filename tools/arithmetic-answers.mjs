/** @file What a model answers to problems that training did not show, and the log-probabilities that it gives to right answers. */
import { difficulties, generateProblem, isCorrect, kinds } from '@quaver/model-arithmetic';
import { generateText } from '@quaver/sdk/node';

/** Draws after which a kind and difficulty is taken to have no more problems. */
const mostDraws = 2000;

/** Up to `count` different held-out problems of a kind and difficulty: few small numbers make few problems. */
function heldOut(kind, difficulty, count) {
  const found = new Map();
  for (let index = 0; found.size < count && index < mostDraws; index++) {
    const problem = generateProblem(1, index, 'held-out', { kinds: [kind], difficulties: [difficulty] });
    found.set(problem.prompt, problem);
  }
  return [...found.values()];
}

/** The greedy answer to a problem. */
async function answer(model, { prompt }) {
  let last;
  const request = { messages: [{ role: 'user', content: prompt }], maxNewTokens: 160 };
  for await (const event of generateText(model, request)) last = event;
  return last.text;
}

/** Kind → for each difficulty, how many of how many answers are right. `say` hears of each kind and difficulty. */
export async function measureAccuracy(model, count, say) {
  const table = new Map();
  for (const kind of kinds) {
    const row = [];
    for (const difficulty of difficulties) {
      const problems = heldOut(kind, difficulty, count);
      let right = 0;
      for (const problem of problems) if (isCorrect(problem, await answer(model, problem))) right++;
      row.push({ right, of: problems.length });
      say(`${kind}, difficulty ${difficulty}: ${right} of ${problems.length}`);
    }
    table.set(kind, row);
  }
  return table;
}

/** Log-probabilities of the tokens of problem `index` and its response, as the bits of their f32. */
export async function logprobBits(model, index) {
  const { prompt, response } = generateProblem(1, index, 'held-out');
  const tokenizer = await model.tokenizer();
  const text = tokenizer.applyChatTemplate([{ role: 'user', content: prompt }]) + response;
  const tokens = tokenizer.encode(text, { special: false });
  const row = (data) => ({ type: { dtype: 'i32', shape: [1, data.length] }, data: Int32Array.from(data) });
  const inputs = { tokens: row(tokens.slice(0, -1)), targets: row(tokens.slice(1)) };
  const { logprobs } = await model.session.run('logprobs', inputs);
  return new Uint32Array(logprobs.data.buffer, logprobs.data.byteOffset, logprobs.data.length);
}
