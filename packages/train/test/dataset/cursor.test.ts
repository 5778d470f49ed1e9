import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Batch, type DataCursor, Dataset, type DatasetOptions, type Example } from '../../src/index.ts';
import { testTokenizer } from './support/tokenizers.ts';

const tokenizer = testTokenizer();
const word = fc.string({ unit: fc.constantFrom(...'abcdehlo .'), minLength: 1, maxLength: 80 });
const examples = fc.array(word, { minLength: 1, maxLength: 30 });
const shape = fc.record({
  rowTokens: fc.integer({ min: 1, max: 24 }),
  batchRows: fc.integer({ min: 1, max: 4 }),
  align: fc.constantFrom(1, 4),
  seed: fc.nat(),
  openRows: fc.integer({ min: 1, max: 3 }),
  poolRows: fc.integer({ min: 0, max: 6 }),
});
type Shape = Omit<DatasetOptions, 'tokenizer'>;

const open = (texts: readonly string[], options: Shape, more: object = {}) =>
  Dataset.fromExamples(
    texts.map((text): Example => ({ text })),
    { tokenizer, ...options, ...more },
  );

/** The next `count` batches. */
async function take(dataset: Dataset, count: number, cursor?: DataCursor) {
  const taken: { batch: Batch; cursor: DataCursor }[] = [];
  if (count === 0) return taken;
  for await (const next of dataset.batches(cursor ? { cursor } : {})) {
    taken.push(next);
    if (taken.length === count) break;
  }
  return taken;
}

describe('a cursor', () => {
  test('goes on with the batches that would have followed, at any place, over epochs', async () => {
    await fc.assert(
      fc.asyncProperty(examples, shape, fc.nat(20), fc.nat(20), async (texts, options, before, after) => {
        const whole = await take(await open(texts, options), before + 1 + after);
        const written = JSON.stringify(whole[before]!.cursor);
        const rest = await take(await open(texts, options), after, JSON.parse(written));
        expect(rest).toEqual(whole.slice(before + 1));
      }),
      { numRuns: 150 },
    );
  });

  test('goes on to the end of the last epoch', async () => {
    const texts = Array.from({ length: 9 }, (_, index) => 'hello '.repeat(index + 1));
    const options = { rowTokens: 8, batchRows: 3, align: 1 };
    const whole = await Array.fromAsync((await open(texts, options)).batches({ epochs: 3 }));
    for (const [at, { cursor }] of whole.entries()) {
      const rest = await Array.fromAsync((await open(texts, options)).batches({ cursor, epochs: 3 }));
      expect(rest).toEqual(whole.slice(at + 1));
    }
  });

  test('stays small: rows that wait are numbers', async () => {
    const texts = Array.from({ length: 400 }, (_, index) => 'hello '.repeat((index % 50) + 1));
    const [last] = (await take(await open(texts, { rowTokens: 32, batchRows: 4, align: 1 }), 30)).slice(-1);
    expect(JSON.stringify(last!.cursor).length).toBeLessThan(4096);
  });
});

test('epochs differ in order and agree in content; seeds differ; the same seed does not', async () => {
  const texts = Array.from('abcdehlo', (letter) => letter.repeat(3));
  const options = { rowTokens: 4, batchRows: 1, align: 1, openRows: 1 };
  const epochs = async (seed: number) => {
    const dataset = await open(texts, { ...options, seed });
    const all: string[][] = [[], [], []];
    for await (const { batch, cursor } of dataset.batches({ epochs: 3 })) all[cursor.epoch]!.push(batch.tokens.join());
    return all;
  };
  const seen = await epochs(1);
  expect(seen.map((rows) => [...rows].sort())).toEqual(Array(3).fill([...seen[0]!].sort()));
  expect(new Set(seen.map((rows) => rows.join(';'))).size).toBe(3);
  expect(await epochs(1)).toEqual(seen);
  expect(await epochs(2)).not.toEqual(seen);
});

test('the pool mixes windows of different documents', async () => {
  const texts = ['a', 'b', 'c', 'd'].map((letter) => `${letter} `.repeat(40));
  const neighbours = async (poolRows: number) => {
    const dataset = await open(texts, { rowTokens: 8, batchRows: 1, align: 1, poolRows });
    const owners: string[] = [];
    for await (const { batch } of dataset.batches({ epochs: 1 })) {
      owners.push(/[abcd]/.exec(tokenizer.decode([...batch.tokens]))![0]);
    }
    return owners.filter((owner, index) => owner === owners[index + 1]).length / owners.length;
  };
  expect(await neighbours(0)).toBeGreaterThan(0.8);
  expect(await neighbours(64)).toBeLessThan(0.5);
});

describe('a cursor that does not belong', () => {
  const texts = ['hello', 'abc', 'old', 'ab ab'];
  const options = { rowTokens: 8, batchRows: 1, align: 1, poolRows: 2, openRows: 1 };

  const cursorOf = async () => (await take(await open(texts, options), 1))[0]!.cursor;
  const goOn = async (dataset: Dataset, cursor: unknown) => take(dataset, 1, cursor as DataCursor);

  test('to other data', async () => {
    for (const other of [['hello', 'abc', 'old', 'ab aa'], texts.slice(1), [...texts].reverse()]) {
      await expect(goOn(await open(other, options), await cursorOf())).rejects.toMatchObject({ code: 'data-changed' });
    }
  });

  test.each([
    ['rowTokens', 9],
    ['batchRows', 2],
    ['seed', 1],
    ['align', 2],
    ['openRows', 2],
    ['poolRows', 3],
    ['tooLong', 'skip'],
    ['endToken', null],
    ['tokenizer', testTokenizer({ turns: false })],
  ])('to other settings: %s', async (name, value) => {
    const dataset = await open(texts, options, { [name]: value });
    await expect(goOn(dataset, await cursorOf())).rejects.toMatchObject({
      code: 'data-settings-changed',
      where: { setting: name },
    });
  });

  test('to another split', async () => {
    const dataset = await open(texts, options, { validation: { fraction: 0.3 } });
    await expect(goOn(dataset, await cursorOf())).rejects.toMatchObject({ code: 'data-settings-changed' });
  });

  test.each<[string, (cursor: DataCursor) => unknown]>([
    ['no object', () => 7],
    ['a field is missing', ({ epoch: _, ...rest }) => rest],
    ['a number is negative', (cursor) => ({ ...cursor, segment: -1 })],
    ['beyond the data', (cursor) => ({ ...cursor, next: 5 })],
    ['an example that is not there', (cursor) => ({ ...cursor, open: [[[4, 0]]] })],
    ['a segment that is not there', (cursor) => ({ ...cursor, open: [[[0, 1]]] })],
    ['an empty row', (cursor) => ({ ...cursor, open: [[]] })],
    ['more in a row than fits', (cursor) => ({ ...cursor, pool: [Array(9).fill([0, 0])] })],
    ['more open rows than there are', (cursor) => ({ ...cursor, open: [[[0, 0]], [[1, 0]]] })],
  ])('to anything: %s', async (_, change) => {
    const dataset = await open(texts, options);
    await expect(goOn(dataset, change(await cursorOf()))).rejects.toMatchObject({ code: 'cursor-invalid' });
  });
});

describe('validation', () => {
  const texts = Array.from(
    { length: 40 },
    (_, index) => `a${'b'.repeat(index % 7)} ${'c'.repeat(index % 11)}${index % 2 ? 'd' : ''}`,
  );
  const options = { rowTokens: 32, batchRows: 2, align: 1, openRows: 1 };
  /** The texts in batches. */
  const content = (batches: readonly Batch[]) =>
    batches.flatMap((batch) => {
      const found: string[] = [];
      for (let at = 0; at < batch.tokens.length; at++) {
        if (batch.mask[at] === 0) continue;
        if (batch.position[at] === 0) found.push('');
        found[found.length - 1] += tokenizer.decode([batch.targets[at]!]);
      }
      return found;
    });

  test('a fraction: apart from training, all of it, once, the same each time', async () => {
    const dataset = await open(texts, options, { validation: { fraction: 0.25 } });
    expect(dataset.statistics).toMatchObject({ trainingExamples: 30, validationExamples: 10 });
    const validation = await Array.fromAsync(dataset.validation());
    const training = (await Array.fromAsync(dataset.batches({ epochs: 1 }))).map(({ batch }) => batch);
    expect(content(validation).length).toBe(10);
    expect([...content(validation), ...content(training)].sort()).toEqual([...texts].sort());
    expect(await Array.fromAsync(dataset.validation())).toEqual(validation);
    const again = await open(texts, options, { validation: { fraction: 0.25 } });
    expect(await Array.fromAsync(again.validation())).toEqual(validation);
  });

  test('examples of their own, in their order', async () => {
    const own = ['hello', 'old', 'ab'];
    const dataset = await open(texts, options, { validation: { examples: own.map((text) => ({ text })) } });
    expect(dataset.hasValidation).toBe(true);
    expect(content(await Array.fromAsync(dataset.validation()))).toEqual(own);
    expect(dataset.statistics).toMatchObject({ trainingExamples: 40, validationExamples: 3 });
  });

  test('without: an error; of one example: an error; none in it: an error', async () => {
    const without = await open(texts, options);
    expect(without.hasValidation).toBe(false);
    await expect(without.validation().next()).rejects.toMatchObject({ code: 'validation-missing' });
    await expect(open(['a'], options, { validation: { fraction: 0.5 } })).rejects.toMatchObject({
      code: 'validation-split-impossible',
    });
    await expect(open(['a'], options, { validation: { examples: [] } })).rejects.toMatchObject({ code: 'data-empty' });
  });
});

test('an abort ends the batches', async () => {
  const dataset = await open(['hello', 'old'], { rowTokens: 4, batchRows: 1 });
  const controller = new AbortController();
  const batches = dataset.batches({ signal: controller.signal });
  await batches.next();
  controller.abort(new Error('enough'));
  const all = async () => {
    for await (const _ of batches);
  };
  await expect(all()).rejects.toMatchObject({ code: 'aborted', cause: { message: 'enough' } });
});
