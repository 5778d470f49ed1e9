import type { Segment } from './cut-segments.ts';

/**
 * Rows of T tokens, all arrays [rows, T] in row-major order. A row holds segments, each a text of its own, and padding,
 * which is a segment too where it stands. Every row has a token that counts.
 */
export interface Batch {
  /** B, but fewer in the last batch of a pass with an end. */
  readonly rows: number;
  /** T. */
  readonly rowTokens: number;
  /** i32; 0 where there is padding. */
  readonly tokens: Int32Array;
  /** i32; the token that follows each token in its text; 0 where there is padding. */
  readonly targets: Int32Array;
  /** f32; 1 where predicting the target counts, 0 for prompts and padding. */
  readonly mask: Float32Array;
  /** i32; place of the token in its segment, from 0. */
  readonly position: Int32Array;
  /** i32; place in the row of the first token of the segment: token t sees the tokens from firstKey[t] to t. */
  readonly firstKey: Int32Array;
  /** Tokens that are not padding. */
  readonly realTokens: number;
  /** Tokens whose mask is 1; at least `rows`. */
  readonly lossTokens: number;
}

/** @param align where segments start, as the packer had it */
export function buildBatch(
  rows: readonly (readonly Pick<Segment, 'tokens' | 'loss'>[])[],
  rowTokens: number,
  align: number,
): Batch {
  const size = rows.length * rowTokens;
  const array = () => new Int32Array(size);
  const batch = {
    tokens: array(),
    targets: array(),
    mask: new Float32Array(size),
    position: array(),
    firstKey: array(),
  };
  let realTokens = 0;
  let lossTokens = 0;
  for (const [index, row] of rows.entries()) {
    const base = index * rowTokens;
    /** Numbers the tokens of one segment, of text or of padding. */
    const number = (from: number, to: number) => {
      batch.firstKey.fill(from, base + from, base + to);
      for (let at = from; at < to; at++) batch.position[base + at] = at - from;
    };
    let end = 0;
    for (const { tokens, loss } of row) {
      const start = Math.ceil(end / align) * align;
      number(end, start);
      end = start + tokens.length - 1;
      number(start, end);
      batch.tokens.set(tokens.subarray(0, -1), base + start);
      batch.targets.set(tokens.subarray(1), base + start);
      batch.mask.set(loss.subarray(1), base + start);
      realTokens += end - start;
      lossTokens += loss.subarray(1).reduce((sum, counts) => sum + counts, 0);
    }
    number(end, rowTokens);
  }
  return { rows: rows.length, rowTokens, ...batch, realTokens, lossTokens };
}
