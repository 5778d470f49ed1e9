// Casts between formats, and quantization with a scale per block.
#include "formats.h"

namespace quaver {
namespace {

enum class Rounding : uint32_t { none = 0, pow2_up = 1 };

/** The scale of a block: amax / max, or the smallest power of two s with amax / s ≤ max. amax 0, Inf or NaN gives 1. */
template <Format F>
QUAVER_INLINE float scale_of(float amax, Rounding rounding) {
  if (bits(amax) == 0 || bits(amax) >= 0x7f800000) return 1;
  constexpr float max_finite = F8<F>::max_finite;
  if (rounding == Rounding::none) {
    const float quotient = amax / max_finite;
    return quotient < 0x1p-126f ? 0x1p-126f : quotient;
  }
  constexpr int32_t max_bits = bits(max_finite);
  const bool above = (bits(amax) & 0x7fffff) > (max_bits & 0x7fffff);
  const int32_t biased = (bits(amax) >> 23) - (max_bits >> 23) + 127 + above;
  return from_bits((biased < 1 ? 1 : biased > 254 ? 254 : biased) << 23);
}

QUAVER_INLINE void store_codes(uint8_t* codes, uint32_t i, i32x4 code, uint32_t count) {
  if (count == kLanes) return store_u8x4(codes + i, code);
  for (uint32_t j = 0; j < count; j++) codes[i + j] = static_cast<uint8_t>(code[j]);
}

/** Largest magnitude, NaN when any element is NaN. */
QUAVER_INLINE float amax_of(const float* x, uint32_t n) {
  f32x4 largest = {};
  for_each_4<Format::f32>(x, n, [&](uint32_t, f32x4 v, uint32_t) { largest = max(largest, abs(v)); });
  return max_of_lanes(largest);
}

/** codes = cast(x / scale) for one block; returns the scale. */
template <Format F>
QUAVER_INLINE float quantize_block(const float* x, uint8_t* codes, uint32_t n, Rounding rounding) {
  const float scale = scale_of<F>(amax_of(x, n), rounding);
  for_each_4<Format::f32>(
      x, n, [&](uint32_t i, f32x4 v, uint32_t count) { store_codes(codes, i, encode_f8<F>(v / splat(scale)), count); });
  return scale;
}

template <Format F>
void quantize_rows_as(const float* x, uint8_t* codes, float* scales, uint32_t m, uint32_t k, uint32_t block,
                      Rounding rounding) {
  for (uint32_t row = 0; row < m; row++, x += k, codes += k)
    for (uint32_t k0 = 0; k0 < k; k0 += min(block, k - k0))
      *scales++ = quantize_block<F>(x + k0, codes + k0, min(block, k - k0), rounding);
}

template <Format F>
void quantize_e8m0_as(const float* x, uint8_t* codes, uint8_t* scales, uint32_t rows, uint32_t d) {
  for (uint32_t row = 0; row < rows; row++, x += d, codes += d)
    scales[row] = static_cast<uint8_t>(bits(quantize_block<F>(x, codes, d, Rounding::pow2_up)) >> 23);
}

template <Format F>
void encode_f8_all(const float* x, uint8_t* codes, uint32_t n) {
  for_each_4<Format::f32>(x, n,
                          [&](uint32_t i, f32x4 v, uint32_t count) { store_codes(codes, i, encode_f8<F>(v), count); });
}

template <Format F>
void decode_all(const void* codes, float* out, uint32_t n) {
  for_each_4<F>(codes, n, [&](uint32_t i, f32x4 v, uint32_t count) { store_first(out + i, v, count); });
}

}  // namespace

/**
 * x f32[m, k] → codes[m, k] (E4M3FN or E5M2) and scales f32[m, ceil(k / block)]: amax, scale and saturating cast of x /
 * scale. `rounding`: 0 none, 1 pow2_up.
 */
QUAVER_KERNEL(quantize_rows)
void quantize_rows(Format format, const float* x, uint8_t* codes, float* scales, uint32_t m, uint32_t k, uint32_t block,
                   Rounding rounding) {
  if (format == Format::f8e5m2)
    quantize_rows_as<Format::f8e5m2>(x, codes, scales, m, k, block, rounding);
  else
    quantize_rows_as<Format::f8e4m3fn>(x, codes, scales, m, k, block, rounding);
}

/** x f32[rows, d] → codes[rows, d] and one E8M0 scale byte per row, rounded up: scale = 2^(byte − 127). For KV caches.
 */
QUAVER_KERNEL(quantize_e8m0)
void quantize_e8m0(Format format, const float* x, uint8_t* codes, uint8_t* scales, uint32_t rows, uint32_t d) {
  if (format == Format::f8e5m2)
    quantize_e8m0_as<Format::f8e5m2>(x, codes, scales, rows, d);
  else
    quantize_e8m0_as<Format::f8e4m3fn>(x, codes, scales, rows, d);
}

/** x f32[n] → bf16 or FP8 codes[n], round to nearest even; FP8 saturates. */
QUAVER_KERNEL(encode) void encode(Format format, const float* x, void* codes, uint32_t n) {
  uint8_t* bytes = static_cast<uint8_t*>(codes);
  if (format == Format::f8e4m3fn) return encode_f8_all<Format::f8e4m3fn>(x, bytes, n);
  if (format == Format::f8e5m2) return encode_f8_all<Format::f8e5m2>(x, bytes, n);
  uint16_t* words = static_cast<uint16_t*>(codes);
  for_each_4<Format::f32>(x, n, [&](uint32_t i, f32x4 v, uint32_t count) {
    const i32x4 code = encode_bf16(v);
    if (count == kLanes) return store_u16x4(words + i, code);
    for (uint32_t j = 0; j < count; j++) words[i + j] = static_cast<uint16_t>(code[j]);
  });
}

/** bf16 or FP8 codes[n] → out f32[n], exactly. */
QUAVER_KERNEL(decode) void decode(Format format, const void* codes, float* out, uint32_t n) {
  if (format == Format::bf16) return decode_all<Format::bf16>(codes, out, n);
  if (format == Format::f8e5m2) return decode_all<Format::f8e5m2>(codes, out, n);
  decode_all<Format::f8e4m3fn>(codes, out, n);
}

}  // namespace quaver
