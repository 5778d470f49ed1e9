import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { RlConfig } from '../../src/config/config-types.ts';
import type { RlProblem, RlResponse } from '../../src/tasks/environment.ts';
import { openTask, orderOf } from '../../src/tasks/node/open-task.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'quaver-task-'));
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  await writeFile(path.join(folder, name), content);
  return path.join(folder, name);
}

const config = (task: RlConfig['task'], workers = 1, timeout_ms = 500) => ({
  ...{ task, seed: 0 },
  reward: { workers, timeout_ms, memory_mb: 64 },
});
const say = (text: string): RlResponse => ({
  ...{ text, tokens: [1], stopReason: 'eos' },
  messages: [{ role: 'assistant', content: text }],
});
const problem: RlProblem = { id: 'p', messages: [{ role: 'user', content: '?' }], data: null };

/** A verifier that does what the response says. */
const obedient = `export default () => ({
  problem: (index) => ({ id: String(index), messages: [{ role: 'user', content: '?' }], data: index }),
  async verify(problem, { text }) {
    if (text === 'hang') for (;;);
    if (text === 'wait') return new Promise(() => {});
    if (text === 'throw') throw new TypeError('no such thing');
    if (text === 'exit') process.exit(0);
    if (text === 'later') { setTimeout(() => { throw new Error('too late'); }); return new Promise(() => {}); }
    if (text === 'memory') { const all = []; for (;;) all.push(new Array(100000).fill(1)); }
    if (text === 'flood') for (let i = 0; i < 20000; i++) console.log('x'.repeat(100));
    if (text === 'nan') return { reward: NaN, correct: false };
    if (text === 'number') return 1;
    if (text === 'nothing') return undefined;
    if (text === 'environment') return { reward: Object.keys(process.env).length, correct: true };
    return { reward: 0.5, correct: true };
  },
});`;

describe('a verifier of one’s own', async () => {
  const module = await file('obedient.mjs', obedient);

  test('whatever it does, the sample is lost and the others are not', async () => {
    await using task = await openTask(config({ module }, 2));
    const good = { status: 'ok', reward: 0.5, correct: true };
    const failed = (reason: string) => expect.objectContaining({ status: 'failed', reason });
    const cases = [
      ['fine', good],
      ['hang', failed('timeout')],
      ['throw', expect.objectContaining({ reason: 'threw', message: expect.stringContaining('no such thing') })],
      ['exit', failed('ended')],
      ['fine', good],
      ['wait', failed('timeout')],
      ['later', failed('ended')],
      ['memory', failed('ended')],
      ['nan', failed('invalid')],
      ['number', failed('invalid')],
      ['nothing', failed('invalid')],
      ['flood', good],
      ['environment', { status: 'ok', reward: 0, correct: true }],
      ['fine', good],
    ] as const;
    const found = await Promise.all(cases.map(([text]) => task.verify(problem, say(text))));
    expect(found).toEqual(cases.map(([, expected]) => expected));
  }, 120_000);

  test.each([
    ['undefined', 'problem'],
    ['{ id: "1", messages: [] }', 'problem.messages'],
    ['{ id: "1", messages: [{ role: "user" }] }', 'problem.messages.0.content'],
  ])('a task that gives %s as a problem is told so', async (value, place) => {
    const code = `export default () => ({ problem: () => (${value}), verify: () => ({ reward: 1, correct: true }) });`;
    await using task = await openTask(config({ module: await file(`bad ${place}.mjs`, code) }));
    await expect(task.problems(0, 1)).rejects.toThrow(
      expect.objectContaining({ code: 'rl-task-failed', message: expect.stringContaining(`'${place}'`) }),
    );
  });

  test('each that hangs costs its own time, not that of a start', async () => {
    await using task = await openTask(config({ module }));
    const start = performance.now();
    for (let i = 0; i < 3; i++) expect(await task.verify(problem, say('hang'))).toMatchObject({ reason: 'timeout' });
    // A start is given 30 seconds.
    expect(performance.now() - start).toBeLessThan(25_000);
  }, 60_000);

  test('nothing is called after the task was disposed, and nothing is left to wait for', async () => {
    const task = await openTask(config({ module }));
    await task[Symbol.asyncDispose]();
    await expect(task.verify(problem, say('fine'))).rejects.toMatchObject({ code: 'rl-task-closed' });
  });

  test('an abort ends the waiting', async () => {
    await using task = await openTask(config({ module }, 1, 60_000));
    const controller = new AbortController();
    const waiting = task.verify(problem, say('wait'), { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
    expect(await task.verify(problem, say('fine'))).toMatchObject({ status: 'ok' });
  });

  test.each([
    ['export default 1;', 'rl-task-module'],
    ['export default () => ({});', 'rl-task-module'],
    ['this is no JavaScript', 'rl-task-failed'],
    ['export default () => { throw new Error("not today"); };', 'rl-task-failed'],
    ['export default () => ({ size: () => 0, problem() {}, verify() {} });', 'rl-task-empty'],
  ])('%s is refused with %s', async (source, code) => {
    const broken = await file(`broken-${code}-${source.length}.mjs`, source);
    await expect(openTask(config({ module: broken }))).rejects.toMatchObject({ code });
  });
});

describe('a file of problems', () => {
  const lines = (...items: readonly object[]) => items.map((item) => JSON.stringify(item)).join('\n');

  test.each([
    [{ answer: 'Paris' }, 'I think\n#### Paris', true],
    [{ answer: 'Paris' }, ' Paris ', true],
    [{ answer: 'Paris' }, '#### paris', false],
    [{ answer: 3.5, match: 'numeric' }, '#### 3.50', true],
    [{ answer: 1234, match: 'numeric' }, '#### 1,234', true],
    [{ answer: 3.5, match: 'numeric', tolerance: 0.1 }, '#### 3.55', true],
    [{ answer: 3.5, match: 'numeric', tolerance: 0.1 }, '#### 3.65', false],
    [{ answer: 3.5, match: 'numeric' }, '####', false],
    [{ answer: '(yes|yep)[.!]?', match: 'regex' }, '#### yep!', true],
    [{ answer: '(yes|yep)[.!]?', match: 'regex' }, '#### yes, or no', false],
  ])('%j: %j', async (answer, text, correct) => {
    const data = await file('problems.jsonl', lines({ prompt: 'Q', ...answer }));
    await using task = await openTask(config({ name: 'jsonl', file: data }));
    const [first] = await task.problems(0, 1);
    expect(first!.messages).toEqual([{ role: 'user', content: 'Q' }]);
    expect(await task.verify(first!, say(text))).toEqual({ status: 'ok', reward: correct ? 1 : 0, correct });
  });

  test('an expression that takes for ever costs one sample', async () => {
    const data = await file('slow.jsonl', lines({ prompt: 'Q', answer: '(a+)+b', match: 'regex' }));
    await using task = await openTask(config({ name: 'jsonl', file: data }));
    const [first] = await task.problems(0, 1);
    expect(await task.verify(first!, say(`#### ${'a'.repeat(40)}`))).toMatchObject({ reason: 'timeout' });
    expect(await task.verify(first!, say('#### aab'))).toMatchObject({ status: 'ok', correct: true });
  });

  test.each([
    ['{"prompt": "a", "answer": 1}\n{"prompt": 2, "answer": 1}', /:2: /],
    ['{"prompt": "a"}', /:1: /],
    ['{"prompt": "a", "answer": 1}\n\nnot json', /:3: this is not JSON/],
    ['{"prompt": "a", "answer": "x", "match": "numeric"}', /:1: 'answer': 'x' is no number/],
    ['{"prompt": "a", "answer": "(", "match": "regex"}', /:1: answer: Invalid regular expression/],
  ])('%j names the line', async (content, message) => {
    const data = await file('bad.jsonl', content);
    await expect(openTask(config({ name: 'jsonl', file: data }))).rejects.toMatchObject({
      code: 'rl-task-data',
      message: expect.stringMatching(message),
    });
  });

  test('without problems, or without the file, nothing begins', async () => {
    const empty = await file('empty.jsonl', '\n');
    await expect(openTask(config({ name: 'jsonl', file: empty }))).rejects.toMatchObject({ code: 'rl-task-empty' });
    const missing = path.join(folder, 'missing.jsonl');
    await expect(openTask(config({ name: 'jsonl', file: missing }))).rejects.toMatchObject({ code: 'file-not-found' });
  });

  test('every tenth line is held out, and no line is in both', async () => {
    const data = await file(
      'split.jsonl',
      lines(...Array.from({ length: 25 }, (_, i) => ({ prompt: `${i}`, answer: i }))),
    );
    await using task = await openTask(config({ name: 'jsonl', file: data }));
    const asked = (problems: readonly RlProblem[]) => problems.map(({ messages }) => Number(messages[0]!.content));
    expect(asked(await task.heldOut(100))).toEqual([9, 19]);
    const round = asked(await task.problems(0, 23));
    expect(round.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 25 }, (_, i) => i).filter((i) => i % 10 !== 9),
    );
  });
});

test('the order of problems: each once in every round, other orders in other rounds', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(1000), fc.nat(50), (size, seed, round) => {
      expect([...orderOf(round, size, seed)].toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: size }, (_, i) => i),
      );
    }),
  );
  expect(orderOf(0, 20, 7)).not.toEqual(orderOf(1, 20, 7));
});
