// Casts between formats, and quantization with a scale per block.
#include "quantize.h"

#include "formats.h"

namespace quaver::QUAVER_ISA {
namespace {

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

/**
 * Calls `body` with a function that divides a vector by `scale`. For ±2^e with e in −126 … 126 it multiplies by ±2^−e,
 * which is a normal f32: x / 2^e and x · 2^−e are the same real number, so both round to the same f32, subnormal
 * or not.
 */
template <class Body>
QUAVER_INLINE void with_divide_by(float scale, Body body) {
  const int32_t magnitude = bits(scale) & 0x7fffffff;
  if ((magnitude & 0x7fffff) == 0 && magnitude >= 1 << 23 && magnitude < 254 << 23) {
    const f32v reciprocal = splat(1.0f / scale);
    return body([=](f32v x) { return x * reciprocal; });
  }
  const f32v divisor = splat(scale);
  body([=](f32v x) { return x / divisor; });
}

template <Format F, bool Saturate>
void encode_f8_scaled(const float* x, uint8_t* codes, size_t n, float scale) {
  with_divide_by(scale, [&](auto divide) {
    for_each_vector<Format::f32>(x, n, [&](size_t i, f32v v, uint32_t count) {
      store_first_codes(codes + i, encode_f8<F, Saturate>(divide(v)), count);
    });
  });
}

/** codes = cast(x / scale) for one block; returns the scale. */
template <Format F>
QUAVER_INLINE float quantize_block(const float* x, uint8_t* codes, uint32_t n, Rounding rounding) {
  const float scale = scale_of<F>(amax(x, n), rounding);
  encode_f8_scaled<F, true>(x, codes, n, scale);
  return scale;
}

/** Calls `body(first element, elements, index of the block)` for each block of the rows. */
template <class Body>
QUAVER_INLINE void for_each_block(uint32_t k, uint32_t block, uint32_t row0, uint32_t row1, Body body) {
  const uint32_t blocks = ceil_div(k, block);
  for (size_t row = row0; row < row1; row++)
    for (uint32_t i = 0; i < blocks; i++)
      body(row * k + size_t{i} * block, min(block, k - i * block), row * blocks + i);
}

/** Calls `body(first element, elements, scale)` for each run of elements of a row that share a scale. */
template <class Body>
QUAVER_INLINE void for_each_run(const float* scales, size_t scale_stride, uint32_t block_r, uint32_t block_c,
                                uint32_t k, uint32_t row0, uint32_t row1, Body body) {
  for (size_t row = row0; row < row1; row++)
    for (uint32_t c = 0, i = 0; c < k; c += min(block_c, k - c), i++)
      body(row * k + c, min(block_c, k - c), scales[row / block_r * scale_stride + i]);
}

template <Format F>
void quantize_rows_as(const float* x, uint8_t* codes, float* scales, uint32_t k, uint32_t block, Rounding rounding,
                      uint32_t row0, uint32_t row1) {
  for_each_block(k, block, row0, row1, [&](size_t at, uint32_t count, size_t index) {
    scales[index] = quantize_block<F>(x + at, codes + at, count, rounding);
  });
}

template <Format F>
void quantize_rows_e8m0_as(const float* x, uint8_t* codes, uint8_t* scales, uint32_t k, uint32_t block, uint32_t row0,
                           uint32_t row1) {
  for_each_block(k, block, row0, row1, [&](size_t at, uint32_t count, size_t index) {
    const float scale = quantize_block<F>(x + at, codes + at, count, Rounding::pow2_up);
    scales[index] = static_cast<uint8_t>(bits(scale) >> 23);
  });
}

template <Format F>
void quantize_by_as(const float* x, const float* scales, size_t scale_stride, uint32_t block_r, uint32_t block_c,
                    bool saturate, uint8_t* codes, uint32_t k, uint32_t row0, uint32_t row1) {
  for_each_run(scales, scale_stride, block_r, block_c, k, row0, row1, [&](size_t at, uint32_t count, float scale) {
    if (saturate) return encode_f8_scaled<F, true>(x + at, codes + at, count, scale);
    encode_f8_scaled<F, false>(x + at, codes + at, count, scale);
  });
}

template <Format F>
void dequantize_by_as(const uint8_t* codes, const float* scales, size_t scale_stride, uint32_t block_r,
                      uint32_t block_c, float* out, uint32_t k, uint32_t row0, uint32_t row1) {
  for_each_run(scales, scale_stride, block_r, block_c, k, row0, row1, [&](size_t at, uint32_t count, float scale) {
    for_each_vector<F>(codes + at, count,
                       [&](size_t i, f32v v, uint32_t lanes) { store_first(out + at + i, v * splat(scale), lanes); });
  });
}

template <Format F, bool Saturate>
void encode_f8_all(const float* x, uint8_t* codes, size_t n) {
  for_each_vector<Format::f32>(
      x, n, [&](size_t i, f32v v, uint32_t count) { store_first_codes(codes + i, encode_f8<F, Saturate>(v), count); });
}

template <Format F>
void decode_all(const void* codes, float* out, size_t n) {
  for_each_vector<F>(codes, n, [&](size_t i, f32v v, uint32_t count) { store_first(out + i, v, count); });
}

}  // namespace

/** amax, scale and saturating cast of x / scale for each block of each row. */
void quantize_rows(Format format, const float* x, uint8_t* codes, float* scales, uint32_t k, uint32_t block,
                   Rounding rounding, uint32_t row0, uint32_t row1) {
  if (format == Format::f8e5m2)
    quantize_rows_as<Format::f8e5m2>(x, codes, scales, k, block, rounding, row0, row1);
  else
    quantize_rows_as<Format::f8e4m3fn>(x, codes, scales, k, block, rounding, row0, row1);
}

/** The same with scale bytes, rounded up: scale = 2^(byte − 127). */
void quantize_rows_e8m0(Format format, const float* x, uint8_t* codes, uint8_t* scales, uint32_t k, uint32_t block,
                        uint32_t row0, uint32_t row1) {
  if (format == Format::f8e5m2)
    quantize_rows_e8m0_as<Format::f8e5m2>(x, codes, scales, k, block, row0, row1);
  else
    quantize_rows_e8m0_as<Format::f8e4m3fn>(x, codes, scales, k, block, row0, row1);
}

void quantize_by(Format format, const float* x, const float* scales, size_t scale_stride, uint32_t block_r,
                 uint32_t block_c, bool saturate, uint8_t* codes, uint32_t k, uint32_t row0, uint32_t row1) {
  const auto as = format == Format::f8e5m2 ? quantize_by_as<Format::f8e5m2> : quantize_by_as<Format::f8e4m3fn>;
  as(x, scales, scale_stride, block_r, block_c, saturate, codes, k, row0, row1);
}

void dequantize_by(Format format, const uint8_t* codes, const float* scales, size_t scale_stride, uint32_t block_r,
                   uint32_t block_c, float* out, uint32_t k, uint32_t row0, uint32_t row1) {
  const auto as = format == Format::f8e5m2 ? dequantize_by_as<Format::f8e5m2> : dequantize_by_as<Format::f8e4m3fn>;
  as(codes, scales, scale_stride, block_r, block_c, out, k, row0, row1);
}

/** As integers, magnitudes order like the numbers, and NaN is above them all. */
float amax(const float* x, size_t n) {
  i32v largest[4] = {};
  size_t i = 0;
  for (; n - i >= 4 * kLanes; i += 4 * kLanes) {
    QUAVER_UNROLL
    for (uint32_t j = 0; j < 4; j++) largest[j] = larger(bits(abs(load<f32v>(x + i + j * kLanes))), largest[j]);
  }
  for_each_vector<Format::f32>(x + i, n - i,
                               [&](size_t, f32v v, uint32_t) { largest[0] = larger(bits(abs(v)), largest[0]); });
  return from_bits(max_of_lanes(larger(larger(largest[0], largest[1]), larger(largest[2], largest[3]))));
}

/** x f32[n] → bf16, FP8 or f32 codes[n], round to nearest even. */
void encode(Format format, const float* x, void* codes, size_t n, bool saturate) {
  uint8_t* bytes = static_cast<uint8_t*>(codes);
  switch (format) {
    case Format::f32: __builtin_memmove(codes, x, n * sizeof(float)); return;
    case Format::bf16:
      return for_each_vector<Format::f32>(x, n, [&](size_t i, f32v v, uint32_t count) {
        store_first_codes(static_cast<uint16_t*>(codes) + i, encode_bf16(v), count);
      });
    case Format::f8e4m3fn:
      return saturate ? encode_f8_all<Format::f8e4m3fn, true>(x, bytes, n)
                      : encode_f8_all<Format::f8e4m3fn, false>(x, bytes, n);
    case Format::f8e5m2:
      return saturate ? encode_f8_all<Format::f8e5m2, true>(x, bytes, n)
                      : encode_f8_all<Format::f8e5m2, false>(x, bytes, n);
  }
}

/** codes[n] → out f32[n], exactly. */
void decode(Format format, const void* codes, float* out, size_t n) {
  switch (format) {
    case Format::f32: __builtin_memmove(out, codes, n * sizeof(float)); return;
    case Format::bf16: return decode_all<Format::bf16>(codes, out, n);
    case Format::f8e4m3fn: return decode_all<Format::f8e4m3fn>(codes, out, n);
    case Format::f8e5m2: return decode_all<Format::f8e5m2>(codes, out, n);
  }
}

}  // namespace quaver::QUAVER_ISA
