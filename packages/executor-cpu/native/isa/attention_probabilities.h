// The last step of attention's softmax: e / Σe, rounded to the precision of the second product.
#pragma once
#include "elementary.h"
#include "formats.h"

namespace quaver::QUAVER_ISA {

/**
 * The correctly rounded a / b without a division, of a in [0, 1] and b in [1, 2^32], given the correctly rounded
 * `reciprocal` of b. A quotient below 2^-100 is not always correctly rounded.
 *
 * a · reciprocal is within 1.5 ULP of the quotient, the first correction makes it faithful, and then the second one
 * gives the correctly rounded quotient: its remainder is exact (Markstein, 1990).
 */
QUAVER_INLINE f32v divide_by_reciprocal(f32v a, f32v b, f32v reciprocal) {
  if constexpr (!kHasFusedMultiplyAdd) return a / b;
  f32v q = a * reciprocal;
  q = fused_multiply_add(fused_multiply_add(-q, b, a), reciprocal, q);
  return fused_multiply_add(fused_multiply_add(-q, b, a), reciprocal, q);
}

/** x in [0, 1] to bf16, and to +0 below 2^-56, as the operand of a dot product. */
QUAVER_INLINE f32v round_probability_to_bf16(f32v x) {
  const i32v word = bits(x);
  const i32v rounded = (word + 0x7fff + ((word >> 16) & 1)) & static_cast<int32_t>(0xffff0000);
  return from_bits(select(rounded < splat(bits(kBf16OperandMin)), i32v{}, rounded));
}

/** x in [0, 1] to E4M3FN with the scale 2^-8: four significant bits, and multiples of 2^-17 below 2^-14. */
QUAVER_INLINE f32v round_probability_to_f8(f32v x) {
  const i32v word = bits(x);
  const i32v normal = (word + 0x7ffff + ((word >> 20) & 1)) & static_cast<int32_t>(0xfff00000);
  // The last mantissa bit of 64 … 128 is 2^-17.
  const f32v subnormal = (x + 64.0f) - 64.0f;
  return select(x < splat(0x1p-14f), subnormal, from_bits(normal));
}

/** e[count] / total, rounded, in place; `count` is a multiple of kLanes. */
QUAVER_INLINE void divide_and_round(Format probs, float* e, uint32_t count, float total) {
  const auto each = [&](auto operation) __attribute__((always_inline)) {
    for (uint32_t i = 0; i < count; i += kLanes) store(e + i, operation(load<f32v>(e + i)));
  };
  // A NaN among the scores is one in their sum.
  if (total != total) return each([](f32v) { return splat(__builtin_nanf("")); });
  const f32v b = splat(total), reciprocal = splat(1.0f / total);
  if (probs == Format::f32) return each([=](f32v a) { return a / b; });
  // Both round quotients that are too small for divide_by_reciprocal to 0.
  if (probs == Format::bf16)
    return each([=](f32v a) { return round_probability_to_bf16(divide_by_reciprocal(a, b, reciprocal)); });
  each([=](f32v a) { return round_probability_to_f8(divide_by_reciprocal(a, b, reciprocal)); });
}

}  // namespace quaver::QUAVER_ISA
