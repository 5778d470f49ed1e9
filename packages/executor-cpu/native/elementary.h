// Our own exp and log, built from correctly rounded f32 operations in a fixed order, so that every executor gives the
// same bits. Polynomials: Cephes expf and logf (S. L. Moshier). `exp32` and `log32` of @quaver/numerics are the same
// text.
#pragma once
#include "vec.h"

namespace quaver {

constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;
constexpr float kInfinity = __builtin_inff();

/** e^x: NaN stays NaN, x above 88.7228… gives +Inf, x below −87.3365… gives +0. */
QUAVER_INLINE f32x4 exp(f32x4 x) {
  constexpr float log2_e = 1.44269502162933349609375f;
  // 1.5·2^23: adding it leaves the nearest integer in the low mantissa bits.
  constexpr float round_to_integer = 12582912.0f;
  const f32x4 shifted = x * log2_e + round_to_integer;
  const f32x4 n = shifted - round_to_integer;
  f32x4 r = x - n * kLn2High;
  r = r - n * kLn2Low;
  f32x4 p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  f32x4 y = p * (r * r);
  y = y + r;
  y = y + 1.0f;
  // 2^n in two factors: n reaches 128, which has no f32 power of its own.
  const i32x4 exponent = bits(shifted) - bits(round_to_integer);
  const i32x4 half = exponent >> 1;
  y = y * from_bits((half + 127) << 23) * from_bits((exponent - half + 127) << 23);
  y = select(x > splat(88.72283172607421875f), splat(kInfinity), y);
  return select(x < splat(-87.33654022216796875f), splat(0.0f), y);
}

/** Natural logarithm: NaN and x < 0 give NaN, ±0 gives −Inf, +Inf stays. */
QUAVER_INLINE float log(float x) {
  if (!(x >= 0)) return __builtin_nanf("");
  if (x == 0) return -kInfinity;
  if (x == kInfinity) return x;
  float e = -126;
  if (x < 0x1p-126f) {
    x = x * 0x1p23f;
    e = -126 - 23;
  }
  e = e + static_cast<float>(bits(x) >> 23);
  float m = from_bits((bits(x) & 0x007fffff) | 0x3f000000);
  if (m < 0.70710678118654752f) {
    e = e - 1;
    m = m + m - 1.0f;
  } else {
    m = m - 1.0f;
  }
  const float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  float y = p * m * z;
  y = y + e * kLn2Low;
  y = y - 0.5f * z;
  return m + y + e * kLn2High;
}

}  // namespace quaver
