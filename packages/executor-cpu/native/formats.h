// Number formats of tensors and their exact decodes and round-to-nearest-even encodes, four lanes at a time.
#pragma once
#include "vec.h"

namespace quaver {

/** Dtype codes that cross the JavaScript boundary; `src/kernels.ts` holds the same table. */
enum class Format : uint32_t { f32 = 0, bf16 = 1, f8e4m3fn = 2, f8e5m2 = 3 };

QUAVER_INLINE uint32_t bytes_of(Format format) { return format == Format::f32 ? 4 : format == Format::bf16 ? 2 : 1; }

/** BF16 dot operands below this magnitude count as +0, so that no product leaves the f32 normal range. */
constexpr float kBf16OperandMin = 0x1p-56f;

QUAVER_INLINE f32x4 flush_bf16_operand(f32x4 x) { return from_bits(bits(x) & ~(abs(x) < splat(kBf16OperandMin))); }

/** What an 8-bit sign-exponent-mantissa format looks like when its magnitude sits in the exponent field of an f32. */
template <Format F>
struct F8;
template <>
struct F8<Format::f8e4m3fn> {
  static constexpr int mantissa_bits = 3, bias = 7;
  static constexpr int32_t max_code = 0x7e, nan_code = 0x7f;
  static constexpr int32_t first_special_code = 0x7f;
  static constexpr float max_finite = 448;
};
template <>
struct F8<Format::f8e5m2> {
  static constexpr int mantissa_bits = 2, bias = 15;
  static constexpr int32_t max_code = 0x7b, nan_code = 0x7e;
  static constexpr int32_t first_special_code = 0x7c;
  static constexpr float max_finite = 57344;
};

/** The exact values of the codes in the low 8 bits of each lane (higher bits are ignored); no f32 subnormal occurs on
 * the way. */
template <Format F>
QUAVER_INLINE f32x4 decode_f8(i32x4 code) {
  constexpr int shift = 23 - F8<F>::mantissa_bits;
  constexpr int32_t rebias = (127 - F8<F>::bias) << 23;
  constexpr int32_t one_exponent = 1 << 23;
  const i32x4 magnitude = (code & 0x7f) << shift;
  const i32x4 sign = (code & 0x80) << 24;
  // A subnormal m·2^(1−bias−mantissa_bits) is (1 + m/2^mantissa_bits)·2^(1−bias) minus 2^(1−bias), exactly.
  const i32x4 subnormal = magnitude < splat(one_exponent);
  const f32x4 with_one = from_bits(magnitude + rebias + (subnormal & one_exponent));
  const f32x4 value = with_one - from_bits(subnormal & (rebias + one_exponent));
  const i32x4 special = magnitude >= splat(F8<F>::first_special_code << shift);
  return from_bits(bits(value) | (special & 0x7f800000) | sign);
}

/** Round to nearest even, saturating: overflow and ±Inf give ±max, NaN gives the positive NaN code. One code per lane.
 */
template <Format F>
QUAVER_INLINE i32x4 encode_f8(f32x4 x) {
  constexpr int shift = 23 - F8<F>::mantissa_bits;
  constexpr int32_t min_normal = (127 - F8<F>::bias + 1) << 23;
  const i32x4 magnitude = bits(x) & 0x7fffffff;
  const i32x4 sign = (bits(x) >> 24) & 0x80;
  const i32x4 odd = (magnitude >> shift) & 1;
  i32x4 normal =
      ((magnitude + ((1 << (shift - 1)) - 1) + odd) >> shift) - ((127 - F8<F>::bias) << F8<F>::mantissa_bits);
  normal = select(normal > F8<F>::max_code, splat(F8<F>::max_code), normal);
  // Below the normal range codes are multiples of 2^(1−bias−mantissa_bits). Adding the f32 whose last mantissa bit has
  // that weight rounds to such a multiple in one exactly specified f32 addition; the multiple is then the low bits.
  constexpr int32_t unit_last_place = (127 + 1 - F8<F>::bias - F8<F>::mantissa_bits + 23) << 23;
  const i32x4 subnormal = bits(from_bits(magnitude) + from_bits(splat(unit_last_place))) - unit_last_place;
  const i32x4 code = select(magnitude < splat(min_normal), subnormal, normal) | sign;
  return select(magnitude > splat(0x7f800000), splat(F8<F>::nan_code), code);
}

/** Round to nearest even; NaN gives 0x7FC0. One code per lane, in its low 16 bits. */
QUAVER_INLINE i32x4 encode_bf16(f32x4 x) {
  const u32x4 word = reinterpret_cast<u32x4>(x);
  const i32x4 rounded = reinterpret_cast<i32x4>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
  return select((bits(x) & 0x7fffffff) > splat(0x7f800000), splat(0x7fc0), rounded);
}

QUAVER_INLINE f32x4 round_to_bf16(f32x4 x) { return from_bits(encode_bf16(x) << 16); }

QUAVER_INLINE i32x4 load_u8x4(const uint8_t* p) { return __builtin_convertvector(load<u8x4>(p), i32x4); }
QUAVER_INLINE i32x4 load_u16x4(const uint16_t* p) { return __builtin_convertvector(load<u16x4>(p), i32x4); }
QUAVER_INLINE void store_u8x4(uint8_t* p, i32x4 v) { store(p, __builtin_convertvector(v, u8x4)); }
QUAVER_INLINE void store_u16x4(uint16_t* p, i32x4 v) { store(p, __builtin_convertvector(v, u16x4)); }

/** Four consecutive elements of a tensor, exactly, as f32. */
template <Format F>
QUAVER_INLINE f32x4 load_as_f32(const void* base, size_t index) {
  if constexpr (F == Format::f32) return load<f32x4>(static_cast<const float*>(base) + index);
  if constexpr (F == Format::bf16) return from_bits(load_u16x4(static_cast<const uint16_t*>(base) + index) << 16);
  if constexpr (F == Format::f8e4m3fn || F == Format::f8e5m2)
    return decode_f8<F>(load_u8x4(static_cast<const uint8_t*>(base) + index));
}

/** Like load_as_f32 for the last `count` (1 … 3) elements of a row; the other lanes are +0 and their memory is not
 * read. */
template <Format F>
QUAVER_INLINE f32x4 load_tail_as_f32(const void* base, size_t index, uint32_t count) {
  const uint32_t size = bytes_of(F);
  uint8_t four[16] = {};
  const uint8_t* from = static_cast<const uint8_t*>(base) + index * size;
  for (uint32_t i = 0; i < count * size; i++) four[i] = from[i];
  return load_as_f32<F>(four, 0);
}

/** Calls `body(i, value, count)` for a row of `n` elements, four at a time; the last call may have a count below 4. */
template <Format F, class Body>
QUAVER_INLINE void for_each_4(const void* row, uint32_t n, Body body) {
  uint32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, load_as_f32<F>(row, i), kLanes);
  if (i < n) body(i, load_tail_as_f32<F>(row, i, n - i), n - i);
}

QUAVER_INLINE void store_first(float* p, f32x4 x, uint32_t count) {
  if (count == kLanes) return store(p, x);
  for (uint32_t i = 0; i < count; i++) p[i] = x[i];
}

}  // namespace quaver
