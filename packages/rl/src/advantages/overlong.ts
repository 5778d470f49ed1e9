export interface OverlongOptions {
  /** The most tokens that may be sampled. */
  readonly maxTokens: number;
  /** How many of them are in the zone where the penalty grows. */
  readonly bufferTokens: number;
  /** The penalty at and beyond the end. */
  readonly penalty: number;
}

/**
 * Soft overlong punishment (Yu et al., DAPO, 2025, arXiv:2503.14476, equation 13): what is added to the reward of a
 * response of so many tokens. 0 up to the zone, then down to −penalty in a straight line.
 */
export function overlongReward(length: number, { maxTokens, bufferTokens, penalty }: OverlongOptions): number {
  const over = length - (maxTokens - bufferTokens);
  if (bufferTokens === 0 || over <= 0) return 0;
  return -penalty * Math.min(over / bufferTokens, 1);
}
