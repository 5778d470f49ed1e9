import { expect, test } from 'vitest';
import type { ExampleSource } from '../../src/data/example-source.ts';
import { type Position, readAhead } from '../../src/data/read-ahead.ts';

/** Examples of given sizes, whose tokens are their numbers; keeps a record of what was asked for. */
function recordingSource(bytes: (example: number) => number, ahead: number) {
  const asked: number[][] = [];
  const source: ExampleSource = {
    count: 1000,
    digest: '',
    ahead,
    bytes,
    place: (example) => ({ file: '<memory>', line: example + 1 }),
    read: async (examples) => {
      asked.push([...examples]);
      return examples.map((example) => ({
        tokens: Int32Array.of(example),
        loss: Uint8Array.of(1),
        divisible: true,
      }));
    },
    close: async () => {},
  };
  return { source, asked };
}

async function* positions(count: number): AsyncGenerator<Position> {
  for (let index = 0; index < count; index++) yield { epoch: 0, index, example: index };
  yield { epoch: 0, index: count };
}

test('what is tokenized ahead is bounded in examples, and in bytes', async () => {
  for (const [bytes, group] of [
    [10, 64],
    [1 << 16, 4],
    [1 << 30, 1],
  ] as const) {
    const { source, asked } = recordingSource(() => bytes, 4);
    let taken = 0;
    for await (const { tokenized, index } of readAhead(source, positions(700), undefined)) {
      if (!tokenized) continue;
      expect(tokenized.tokens[0]).toBe(index);
      taken++;
      expect(asked.flat().length).toBeLessThanOrEqual(Math.ceil(taken / group) * group + 4 * group);
      if (taken < 300) expect(asked.flat().length).toBeGreaterThanOrEqual(5 * group);
    }
    expect(taken).toBe(700);
    expect(asked.flat()).toEqual(Array.from({ length: 700 }, (_, index) => index));
    expect(asked[0]).toHaveLength(group);
  }
});

test('the end of an epoch comes in its place, and nothing is read ahead where that would block', async () => {
  const { source, asked } = recordingSource(() => 1, 0);
  const seen: (number | undefined)[] = [];
  for await (const { example } of readAhead(source, positions(70), undefined)) {
    seen.push(example);
    expect(asked.length).toBe(seen.length <= 64 ? 1 : 2);
  }
  expect(seen).toEqual([...Array.from({ length: 70 }, (_, index) => index), undefined]);
});

test('an error comes when its example is used, and not as one that nobody handles', async () => {
  const { source } = recordingSource(() => 1, 4);
  const failing: ExampleSource = {
    ...source,
    read: async (examples) => {
      if (examples.includes(100)) throw new Error('example 100');
      return source.read(examples);
    },
  };
  let taken = 0;
  const all = async () => {
    for await (const _ of readAhead(failing, positions(500), undefined)) taken++;
  };
  await expect(all()).rejects.toThrow('example 100');
  expect(taken).toBe(64);
});
