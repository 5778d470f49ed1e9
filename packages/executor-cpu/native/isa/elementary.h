// Our own exp and log, built from correctly rounded f32 operations in a fixed order, so that every executor gives the
// same bits. Polynomials: Cephes expf and logf (S. L. Moshier). `exp32` and `log32` of @quaver/numerics are the same
// text.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;
constexpr float kInfinity = __builtin_inff();

/** e^r and n with e^x = e^r · 2^n. */
struct ExpParts {
  f32v e_r;
  i32v n;
};

/**
 * The parts of N vectors side by side: one operation of all vectors before the next operation, because each waits for
 * the one before it, and a processor does not see far enough ahead to find the next vector's by itself.
 */
template <uint32_t N>
QUAVER_INLINE void exp_parts(const f32v (&x)[N], ExpParts (&parts)[N]) {
  constexpr float log2_e = 1.44269502162933349609375f;
  // 1.5·2^23: adding it leaves the nearest integer in the low mantissa bits.
  constexpr float round_to_integer = 12582912.0f;
  constexpr float coefficients[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                                    5.0000001201e-1f};
  f32v shifted[N], n[N], r[N], p[N], y[N];
  const auto each = [&](auto operation) __attribute__((always_inline)) {
    QUAVER_UNROLL
    for (uint32_t i = 0; i < N; i++) operation(i);
  };
  each([&](uint32_t i) { shifted[i] = x[i] * log2_e + round_to_integer; });
  each([&](uint32_t i) { n[i] = shifted[i] - round_to_integer; });
  each([&](uint32_t i) { r[i] = x[i] - n[i] * kLn2High; });
  each([&](uint32_t i) { r[i] = r[i] - n[i] * kLn2Low; });
  each([&](uint32_t i) { p[i] = splat(1.9875691500e-4f); });
  QUAVER_UNROLL
  for (float coefficient : coefficients) each([&](uint32_t i) { p[i] = p[i] * r[i] + coefficient; });
  each([&](uint32_t i) { y[i] = p[i] * (r[i] * r[i]); });
  each([&](uint32_t i) { y[i] = y[i] + r[i]; });
  each([&](uint32_t i) { parts[i] = {y[i] + 1.0f, bits(shifted[i]) - bits(round_to_integer)}; });
}

QUAVER_INLINE f32v zero_where_exp_vanishes(f32v x, f32v y) {
  return select(x < splat(-87.33654022216796875f), splat(0.0f), y);
}

/** e^x: NaN stays NaN, x above 88.7228… gives +Inf, x below −87.3365… gives +0. In place. */
template <uint32_t N>
QUAVER_INLINE void exp(f32v (&x)[N]) {
  ExpParts parts[N];
  exp_parts<N>(x, parts);
  QUAVER_UNROLL
  for (uint32_t i = 0; i < N; i++) {
    const auto [e_r, n] = parts[i];
    // 2^n in two factors: n reaches 128, which has no f32 power of its own.
    const i32v half = n >> 1;
    const f32v y = e_r * from_bits((half + 127) << 23) * from_bits((n - half + 127) << 23);
    x[i] = zero_where_exp_vanishes(x[i], select(x[i] > splat(88.72283172607421875f), splat(kInfinity), y));
  }
}
QUAVER_INLINE f32v exp(f32v x) {
  f32v one[1] = {x};
  exp(one);
  return one[0];
}

/** The same bits for x ≤ 0 or NaN: n is at least −126 where the result is not 0, so one factor does. In place. */
template <uint32_t N>
QUAVER_INLINE void exp_below_0(f32v (&x)[N]) {
  ExpParts parts[N];
  exp_parts<N>(x, parts);
  QUAVER_UNROLL
  for (uint32_t i = 0; i < N; i++)
    x[i] = zero_where_exp_vanishes(x[i], parts[i].e_r * from_bits((parts[i].n + 127) << 23));
}

/** Natural logarithm: NaN and x < 0 give NaN, ±0 gives −Inf, +Inf stays. */
QUAVER_INLINE f32v log(f32v x) {
  // A subnormal is brought into the normal range first.
  const i32v tiny = x < splat(0x1p-126f);
  const f32v normal = select(tiny, x * 0x1p23f, x);
  f32v e = select(tiny, splat(-126.0f - 23.0f), splat(-126.0f));
  e = e + __builtin_convertvector(bits(normal) >> 23, f32v);
  f32v m = from_bits((bits(normal) & 0x007fffff) | 0x3f000000);
  const i32v below = m < splat(0.70710678118654752f);
  e = select(below, e - 1.0f, e);
  m = select(below, m + m, m) - 1.0f;
  const f32v z = m * m;
  f32v p = splat(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  f32v y = p * m * z;
  y = y + e * kLn2Low;
  y = y - 0.5f * z;
  y = m + y + e * kLn2High;
  y = select(x == splat(0.0f), splat(-kInfinity), y);
  y = select(x == splat(kInfinity), x, y);
  return select(x >= splat(0.0f), y, splat(__builtin_nanf("")));
}
QUAVER_INLINE float log(float x) { return log(splat(x))[0]; }

}  // namespace quaver::QUAVER_ISA
