import type { Tokenizer } from '@quaver/generate';
import { ExampleEncoder } from './encode-example.ts';
import type { Example, Place, TokenizedExample } from './example.ts';
import { checkExample } from './parse-line.ts';
import { sha256 } from './sha256.ts';

/** Examples that can be had as tokens in any order. */
export interface ExampleSource {
  readonly count: number;
  /** SHA-256 over everything that the examples are made from. */
  readonly digest: string;
  /** Size of an example before it is tokenized, about: it bounds how much is tokenized ahead. */
  bytes(example: number): number;
  place(example: number): Place;
  /** How many examples are worth being tokenized at once: 0 where tokenizing stops everything else. */
  readonly ahead: number;
  /**
   * @throws QuaverError whatever is wrong with the data, and `tokenizer-worker-failed`
   */
  read(examples: readonly number[]): Promise<TokenizedExample[]>;
  close(): Promise<void>;
}

const memory = (example: number): Place => ({ file: '<memory>', line: example + 1 });

/**
 * Examples in memory, tokenized in this thread.
 * @throws QuaverError `data-missing-field`, `data-bad-field`, where `line` is the number of the example
 */
export async function memoryExamples(
  examples: readonly Example[],
  tokenizer: Tokenizer,
  endToken: number | undefined,
): Promise<ExampleSource> {
  const checked = examples.map((example, index) => checkExample(example, memory(index)));
  const encoder = new ExampleEncoder(tokenizer, endToken);
  return {
    count: checked.length,
    digest: await sha256(JSON.stringify(checked)),
    bytes: (example) => JSON.stringify(checked[example]).length,
    place: memory,
    ahead: 0,
    read: async (wanted) => wanted.map((example) => encoder.encode(checked[example]!, memory(example))),
    close: async () => {},
  };
}
