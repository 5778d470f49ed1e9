import type { Tokenizer } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import type { TooLong } from './cut-segments.ts';
import { endTokenOf } from './encode-example.ts';

export interface DatasetOptions {
  readonly tokenizer: Tokenizer;
  /** T: tokens of a row, at most the context of the model. */
  readonly rowTokens: number;
  /** B: rows of a batch. */
  readonly batchRows: number;
  /** Orders, draws and the split come from it: an integer from 0. Default 0. */
  readonly seed?: number;
  /**
   * Segments start at multiples of this in their row. With the default 128, attention adds in the order in which it adds for the
   * segment alone, so packed rows give the same bits as single sequences; 1 leaves no gaps.
   */
  readonly align?: number;
  /** Prompts with completions and conversations of more than T+1 tokens; default `error`. */
  readonly tooLong?: TooLong;
  /** Token after a document and a completion; default the tokenizer's `eos_token`, null for none. */
  readonly endToken?: number | null;
  /** Rows that are filled at the same time, first fit; default 8. */
  readonly openRows?: number;
  /** Full rows out of which the next one is drawn; default 64. */
  readonly poolRows?: number;
}

export interface ResolvedDatasetOptions extends Required<Omit<DatasetOptions, 'endToken'>> {
  readonly endToken: number | undefined;
}

/** @throws QuaverError `dataset-option` */
export function resolveOptions(options: DatasetOptions): ResolvedDatasetOptions {
  const { tokenizer, rowTokens, batchRows } = options;
  const { seed = 0, align = 128, tooLong = 'error', openRows = 8, poolRows = 64 } = options;
  const endToken = options.endToken === null ? undefined : (options.endToken ?? endTokenOf(tokenizer));
  const least = { rowTokens: 1, batchRows: 1, seed: 0, align: 1, openRows: 1, poolRows: 0, endToken: 0 };
  const given = { rowTokens, batchRows, seed, align, openRows, poolRows, endToken: endToken ?? 0 };
  for (const [name, value] of Object.entries(given)) {
    const smallest = least[name as keyof typeof least];
    if (!Number.isSafeInteger(value) || value < smallest) throw badOption(name, value, `an integer from ${smallest}`);
  }
  if (!['error', 'truncate', 'skip'].includes(tooLong)) throw badOption('tooLong', tooLong, 'error, truncate or skip');
  return { tokenizer, ...given, tooLong, endToken };
}

export function badOption(name: string, found: unknown, expected: string): QuaverError {
  return new QuaverError('dataset-option', `'${name}' is ${String(found)}, expected ${expected}`, {
    where: { option: name },
  });
}
