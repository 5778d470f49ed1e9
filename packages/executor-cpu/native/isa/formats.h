// Number formats of tensors and their exact decodes and round-to-nearest-even encodes, a vector at a time.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

/** BF16 dot operands below this magnitude count as +0, so that no product leaves the f32 normal range. */
constexpr float kBf16OperandMin = 0x1p-56f;

QUAVER_INLINE f32v flush_bf16_operand(f32v x) { return select(abs(x) < splat(kBf16OperandMin), f32v{}, x); }

/** What an 8-bit sign-exponent-mantissa format looks like when its magnitude sits in the exponent field of an f32. */
template <Format F>
struct F8;
template <>
struct F8<Format::f8e4m3fn> {
  static constexpr int mantissa_bits = 3, bias = 7;
  /** overflow_code: what overflow gives when it does not saturate; the largest magnitudes round past max_code. */
  static constexpr int32_t max_code = 0x7e, nan_code = 0x7f, overflow_code = 0x7f;
  static constexpr int32_t first_special_code = 0x7f;
  static constexpr float max_finite = 448;
};
template <>
struct F8<Format::f8e5m2> {
  static constexpr int mantissa_bits = 2, bias = 15;
  static constexpr int32_t max_code = 0x7b, nan_code = 0x7e, overflow_code = 0x7c;
  static constexpr int32_t first_special_code = 0x7c;
  static constexpr float max_finite = 57344;
};

/** The exact values of the codes in the low 8 bits of each lane (higher bits are ignored); no f32 subnormal occurs on
 * the way. */
template <Format F>
QUAVER_INLINE f32v decode_f8(i32v code) {
  constexpr int shift = 23 - F8<F>::mantissa_bits;
  constexpr int32_t rebias = (127 - F8<F>::bias) << 23;
  constexpr int32_t one_exponent = 1 << 23;
  const i32v magnitude = (code & 0x7f) << shift;
  const i32v sign = (code & 0x80) << 24;
  // A subnormal m·2^(1−bias−mantissa_bits) is (1 + m/2^mantissa_bits)·2^(1−bias) minus 2^(1−bias), exactly.
  const i32v subnormal = magnitude < splat(one_exponent);
  const f32v with_one = from_bits(magnitude + rebias + (subnormal & one_exponent));
  const f32v value = with_one - from_bits(subnormal & (rebias + one_exponent));
  const i32v special = magnitude >= splat(F8<F>::first_special_code << shift);
  return from_bits(bits(value) | (special & 0x7f800000) | sign);
}

/** Round to nearest even; overflow and ±Inf give ±max or the overflow code, NaN gives the positive NaN code. One code
 * per lane. */
template <Format F, bool Saturate = true>
QUAVER_INLINE i32v encode_f8(f32v x) {
  constexpr int shift = 23 - F8<F>::mantissa_bits;
  constexpr int32_t min_normal = (127 - F8<F>::bias + 1) << 23;
  const i32v magnitude = bits(x) & 0x7fffffff;
  const i32v sign = (bits(x) >> 24) & 0x80;
  const i32v odd = (magnitude >> shift) & 1;
  i32v normal = ((magnitude + ((1 << (shift - 1)) - 1) + odd) >> shift) - ((127 - F8<F>::bias) << F8<F>::mantissa_bits);
  normal = select(normal > splat(F8<F>::max_code), splat(Saturate ? F8<F>::max_code : F8<F>::overflow_code), normal);
  // Below the normal range codes are multiples of 2^(1−bias−mantissa_bits). Adding the f32 whose last mantissa bit has
  // that weight rounds to such a multiple in one exactly specified f32 addition; the multiple is then the low bits.
  constexpr int32_t unit_last_place = (127 + 1 - F8<F>::bias - F8<F>::mantissa_bits + 23) << 23;
  const i32v subnormal = bits(from_bits(magnitude) + from_bits(splat(unit_last_place))) - unit_last_place;
  const i32v code = select(magnitude < splat(min_normal), subnormal, normal) | sign;
  return select(magnitude > splat(0x7f800000), splat(F8<F>::nan_code), code);
}

/** Round to nearest even; NaN gives 0x7FC0. One code per lane, in its low 16 bits. */
QUAVER_INLINE i32v encode_bf16(f32v x) {
  const u32v word = reinterpret_cast<u32v>(x);
  const i32v rounded = reinterpret_cast<i32v>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
  return select((bits(x) & 0x7fffffff) > splat(0x7f800000), splat(0x7fc0), rounded);
}

QUAVER_INLINE f32v round_to_bf16(f32v x) { return from_bits(encode_bf16(x) << 16); }

/** kLanes codes, widened to one per lane, and narrowed again. */
QUAVER_INLINE i32v load_codes(const uint8_t* p) { return __builtin_convertvector(load<u8_lanes>(p), i32v); }
QUAVER_INLINE i32v load_codes(const uint16_t* p) { return __builtin_convertvector(load<u16_lanes>(p), i32v); }
QUAVER_INLINE void store_codes(uint8_t* p, i32v v) { store(p, __builtin_convertvector(v, u8_lanes)); }
QUAVER_INLINE void store_codes(uint16_t* p, i32v v) { store(p, __builtin_convertvector(v, u16_lanes)); }

/** kLanes consecutive elements of a tensor, exactly, as f32. */
template <Format F>
QUAVER_INLINE f32v load_as_f32(const void* base, size_t index) {
  if constexpr (F == Format::f32) return load<f32v>(static_cast<const float*>(base) + index);
  if constexpr (F == Format::bf16) return from_bits(load_codes(static_cast<const uint16_t*>(base) + index) << 16);
  if constexpr (F == Format::f8e4m3fn || F == Format::f8e5m2)
    return decode_f8<F>(load_codes(static_cast<const uint8_t*>(base) + index));
}

/** Like load_as_f32 for the last `count` (below kLanes) elements of a row; the other lanes are +0 and their memory is
 * not read. */
template <Format F>
QUAVER_INLINE f32v load_tail_as_f32(const void* base, size_t index, uint32_t count) {
#if defined(__AVX512F__)
  if constexpr (F == Format::f32)
    return reinterpret_cast<f32v>(_mm512_maskz_loadu_ps((1u << count) - 1, static_cast<const float*>(base) + index));
#endif
  constexpr uint32_t size = bytes_of(F);
  uint8_t lanes[kLanes * size] = {};
  const uint8_t* from = static_cast<const uint8_t*>(base) + index * size;
  for (uint32_t i = 0; i < count * size; i++) lanes[i] = from[i];
  return load_as_f32<F>(lanes, 0);
}

/** Elements i … i + kLanes of an f32 row, of which `count` exist; the other lanes are +0. */
QUAVER_INLINE f32v load_first(const float* row, size_t i, uint32_t count) {
  return count == kLanes ? load<f32v>(row + i) : load_tail_as_f32<Format::f32>(row, i, count);
}

QUAVER_INLINE void store_first(float* p, f32v x, uint32_t count) {
  if (count == kLanes) return store(p, x);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (1u << count) - 1, reinterpret_cast<__m512>(x));
#else
  for (uint32_t i = 0; i < count; i++) p[i] = x[i];
#endif
}

template <class Code>
QUAVER_INLINE void store_first_codes(Code* p, i32v codes, uint32_t count) {
  if (count == kLanes) return store_codes(p, codes);
  for (uint32_t i = 0; i < count; i++) p[i] = static_cast<Code>(codes[i]);
}

/** Calls `body(i, value, count)` for a row of `n` elements, kLanes at a time; the last call may have a lower count. */
template <Format F, class Body>
QUAVER_INLINE void for_each_vector(const void* row, size_t n, Body body) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, load_as_f32<F>(row, i), kLanes);
  if (i < n) body(i, load_tail_as_f32<F>(row, i, static_cast<uint32_t>(n - i)), static_cast<uint32_t>(n - i));
}

}  // namespace quaver::QUAVER_ISA
