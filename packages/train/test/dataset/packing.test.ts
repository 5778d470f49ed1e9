import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Batch, Dataset, type Example } from '../../src/index.ts';
import { bos, eos, testTokenizer } from './support/tokenizers.ts';

const tokenizer = testTokenizer();

const word = fc.string({ unit: fc.constantFrom(...'abcdehlo .'), minLength: 1, maxLength: 60 });
const example: fc.Arbitrary<Example> = fc.oneof(
  word.map((text) => ({ text })),
  fc.record({ prompt: word, completion: word }),
);
const shape = fc.record({
  rowTokens: fc.integer({ min: 1, max: 40 }),
  batchRows: fc.integer({ min: 1, max: 4 }),
  align: fc.constantFrom(1, 2, 8, 128),
  seed: fc.nat(),
  openRows: fc.integer({ min: 1, max: 3 }),
  poolRows: fc.integer({ min: 0, max: 5 }),
});

/** Everything that shall be predicted of an example, each as what the model sees and what follows. */
function predictions(of: Example, rowTokens: number): string[] {
  const prompt = 'text' in of ? [] : tokenizer.encode((of as { prompt: string }).prompt);
  const given = Math.max(1, prompt.length);
  const tokens =
    'text' in of ? [...tokenizer.encode(of.text), eos] : whole(of as { prompt: string; completion: string }, prompt);
  if (!('text' in of) && tokens.length > rowTokens + 1) return [];
  const found: string[] = [];
  for (let at = given; at < tokens.length; at++) {
    const window = Math.floor((at - 1) / rowTokens) * rowTokens;
    found.push(`${tokens.slice(window, at)} > ${tokens[at]}`);
  }
  return found;
}

function whole({ prompt, completion }: { prompt: string; completion: string }, given: number[]): number[] {
  const together = tokenizer.encode(prompt + completion);
  const apart = [...given, ...tokenizer.encode(completion, { special: false })];
  return [...(given.every((token, index) => together[index] === token) ? together : apart), eos];
}

/** The same, as a batch has it. */
function predictionsIn(batch: Batch): string[] {
  const { tokens, targets, mask, firstKey, rowTokens } = batch;
  const found: string[] = [];
  for (const [at, counts] of mask.entries()) {
    if (counts === 0) continue;
    const row = at - (at % rowTokens);
    found.push(`${tokens.slice(row + firstKey[at]!, at + 1).join()} > ${targets[at]}`);
  }
  return found;
}

function checkBatch(batch: Batch, { rowTokens, align }: { rowTokens: number; align: number }): void {
  const size = batch.rows * rowTokens;
  for (const name of ['tokens', 'targets', 'mask', 'position', 'firstKey'] as const)
    expect(batch[name].length).toBe(size);
  for (let row = 0; row < batch.rows; row++) {
    let counts = 0;
    for (let t = 0; t < rowTokens; t++) {
      const at = row * rowTokens + t;
      const first = batch.firstKey[at]!;
      expect(batch.position[at]).toBe(t - first);
      expect(batch.firstKey[row * rowTokens + first]).toBe(first);
      if (batch.mask[at] === 1) expect(first % align).toBe(0);
      counts += batch.mask[at]!;
    }
    expect(counts).toBeGreaterThan(0);
  }
  expect(batch.lossTokens).toBe(batch.mask.reduce((sum, value) => sum + value, 0));
  expect(batch.realTokens).toBeGreaterThanOrEqual(batch.lossTokens);
}

describe('packed rows', () => {
  test('every token of every example is predicted once an epoch, from what comes before it in its own text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(example, { minLength: 1, maxLength: 25 }), shape, async (examples, options) => {
        const expected = examples.flatMap((one) => predictions(one, options.rowTokens)).sort();
        fc.pre(expected.length > 0);
        const dataset = await Dataset.fromExamples(examples, { tokenizer, ...options, tooLong: 'skip' });
        const epochs = 2;
        const found: string[] = [];
        for await (const { batch } of dataset.batches({ epochs })) {
          checkBatch(batch, options);
          found.push(...predictionsIn(batch));
        }
        expect(found.sort()).toEqual([...expected, ...expected].sort());
      }),
      { numRuns: 200 },
    );
  });

  test('a row, written out', async () => {
    const examples = [{ text: 'hello' }, { prompt: 'a', completion: 'bb' }];
    const dataset = await Dataset.fromExamples(examples, {
      tokenizer,
      rowTokens: 10,
      batchRows: 1,
      align: 4,
      validation: { examples },
    });
    const [batch] = (await Array.fromAsync(dataset.validation())) as [Batch];
    expect([...batch.tokens]).toEqual([bos, 61, 0, 0, bos, 3, 4, 4, 0, 0]);
    expect([...batch.targets]).toEqual([61, eos, 0, 0, 3, 4, 4, eos, 0, 0]);
    expect([...batch.mask]).toEqual([1, 1, 0, 0, 0, 1, 1, 1, 0, 0]);
    expect([...batch.position]).toEqual([0, 1, 0, 1, 0, 1, 2, 3, 0, 1]);
    expect([...batch.firstKey]).toEqual([0, 0, 2, 2, 4, 4, 4, 4, 8, 8]);
    expect(batch).toMatchObject({ rows: 1, rowTokens: 10, realTokens: 6, lossTokens: 5 });
  });

  test('segments start at multiples of 128 unless asked otherwise', async () => {
    const examples = Array.from({ length: 5 }, () => ({ text: 'hello' }));
    const rows = async (align?: number) => {
      const dataset = await Dataset.fromExamples(examples, {
        tokenizer,
        rowTokens: 256,
        batchRows: 8,
        ...(align && { align }),
      });
      const [first] = await Array.fromAsync(dataset.batches({ epochs: 1 }));
      return first!.batch.rows;
    };
    expect([await rows(), await rows(1)]).toEqual([3, 1]);
  });
});

describe('examples that do not fit', () => {
  const examples: readonly Example[] = [
    { prompt: 'a', completion: 'b' },
    { prompt: 'ab', completion: 'cd' },
  ];
  const open = (tooLong: 'error' | 'truncate' | 'skip' | undefined, rowTokens: number) =>
    Dataset.fromExamples(examples, { tokenizer, rowTokens, batchRows: 1, align: 1, ...(tooLong && { tooLong }) });
  const lossTokens = async (dataset: Dataset) => {
    const batches = await Array.fromAsync(dataset.batches({ epochs: 1 }));
    return batches.reduce((sum, { batch }) => sum + batch.lossTokens, 0);
  };

  test('an error by default, which names the example', async () => {
    await expect(lossTokens(await open(undefined, 4))).rejects.toMatchObject({
      code: 'data-too-long',
      message: '<memory>:2: has 6 tokens, a row takes 5',
      where: { file: '<memory>', line: 2 },
    });
    expect(await lossTokens(await open(undefined, 5))).toBe(2 + 3);
  });

  test('cut or left out when asked for, and counted', async () => {
    const cut = await open('truncate', 4);
    expect(await lossTokens(cut)).toBe(2 + 2);
    expect(cut.statistics).toMatchObject({ trainingExamples: 2, read: 2, truncated: 1, skipped: 0 });
    const left = await open('skip', 4);
    expect(await lossTokens(left)).toBe(2);
    expect(left.statistics).toMatchObject({ read: 2, truncated: 0, skipped: 1 });
  });

  test('nothing is left: an error, not an endless search', async () => {
    // [BOS a], then b and the end token: a row of one token sees nothing of the completion.
    for (const tooLong of ['truncate', 'skip'] as const) {
      const dataset = await open(tooLong, 1);
      await expect(dataset.batches().next()).rejects.toMatchObject({ code: 'data-nothing-to-train' });
    }
  });

  test.each([
    ['rowTokens', 0],
    ['batchRows', 1.5],
    ['seed', -1],
    ['align', 0],
    ['openRows', 0],
    ['poolRows', Number.NaN],
    ['tooLong', 'cut'],
    ['validation', { fraction: 1 }],
    ['validation', { fraction: Number.NaN }],
  ])('an option that cannot be: %s %o', async (name, value) => {
    const options = { tokenizer, rowTokens: 8, batchRows: 1, [name]: value };
    await expect(Dataset.fromExamples(examples, options)).rejects.toMatchObject({
      code: 'dataset-option',
      message: expect.stringContaining(name),
    });
  });

  test('no examples, and one that is none', async () => {
    const options = { tokenizer, rowTokens: 8, batchRows: 1 };
    await expect(Dataset.fromExamples([], options)).rejects.toMatchObject({ code: 'data-empty' });
    await expect(Dataset.fromExamples([examples[0]!, {} as Example], options)).rejects.toMatchObject({
      code: 'data-missing-field',
      where: { file: '<memory>', line: 2 },
    });
  });
});
