import { dataError, type Place, type TokenizedExample } from './example.ts';

/** What becomes of a prompt with its completion, or a conversation, of more than a row's tokens. */
export type TooLong = 'error' | 'truncate' | 'skip';

/** Consecutive tokens of one example that attend to each other: inputs are all but the last, targets all but the first. */
export interface Segment {
  /** Number of the example in its source. */
  readonly example: number;
  /** Number of the segment in its example. */
  readonly index: number;
  /** From 2 to T+1 tokens. */
  readonly tokens: Int32Array;
  /** 1 where predicting this token counts; at least one of those after the first. */
  readonly loss: Uint8Array;
}

export interface CutExample {
  readonly segments: readonly Segment[];
  /** `skipped`: nothing of it is left to predict. */
  readonly outcome: 'whole' | 'truncated' | 'skipped';
}

/**
 * An example as segments for rows of `rowTokens` (T) tokens: windows of T+1 tokens that share their last token with the
 * next one's first, so that every token is predicted once; or one segment where it must stay whole.
 * @throws QuaverError `data-too-long`
 */
export function cutSegments(
  { tokens, loss, divisible }: TokenizedExample,
  example: number,
  options: { readonly rowTokens: number; readonly tooLong: TooLong; readonly place: Place },
): CutExample {
  const { rowTokens, tooLong, place } = options;
  const long = !divisible && tokens.length > rowTokens + 1;
  if (long && tooLong === 'error') {
    throw dataError(
      'data-too-long',
      place,
      `has ${tokens.length} tokens, a row takes ${rowTokens + 1}`,
      `Take longer rows, shorten the example, or truncate or skip such examples: tooLong, in a configuration data.too_long.`,
    );
  }
  const end = !long ? tokens.length : tooLong === 'skip' ? 0 : rowTokens + 1;
  const segments: Segment[] = [];
  for (let from = 0; from + 1 < end; from += rowTokens) {
    const to = Math.min(end, from + rowTokens + 1);
    const piece = { tokens: tokens.subarray(from, to), loss: loss.subarray(from, to) };
    if (piece.loss.includes(1, 1)) segments.push({ example, index: segments.length, ...piece });
  }
  return { segments, outcome: segments.length === 0 ? 'skipped' : long ? 'truncated' : 'whole' };
}
