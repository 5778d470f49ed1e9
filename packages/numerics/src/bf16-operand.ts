/** Magnitudes below this count as zero in BF16 dot products: 2^-56, so that no product falls below the f32 normal range. */
export const BF16_OPERAND_MIN: number = 2 ** -56;

/**
 * A BF16 dot-product operand as every executor sees it: magnitudes below 2^-56 become +0 and everything else, NaN
 * included, passes. Products of what remains are at least 2^-112, so hardware that flushes f32 subnormals in its dot
 * instruction (such as `vdpbf16ps`) gives the same bits as hardware that keeps them.
 */
export function flushBf16Operand(x: number): number {
  return Math.abs(x) < BF16_OPERAND_MIN ? 0 : x;
}
