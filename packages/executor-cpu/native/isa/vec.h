// The only place that knows how wide a vector is and how its operations are spelled.
//
// Every file of this folder is compiled once for each instruction set, with QUAVER_ISA naming it, and everything in it
// lives in the namespace of that name: two instruction sets must never share a function, because the linker would keep
// either one.
//
// Clang's and GCC's vector extensions express nearly everything; one operation is one IEEE operation per lane. The
// kernels must be built with -ffp-contract=off: a fused multiply-add rounds once where the canonical order rounds
// twice.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own AVX-512 intrinsics.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#define QUAVER_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define QUAVER_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QUAVER_UNROLL _Pragma("GCC unroll 32")
#endif

namespace quaver::QUAVER_ISA {

#if defined(__AVX512F__)
constexpr uint32_t kLanes = 16;
#elif defined(__AVX2__)
constexpr uint32_t kLanes = 8;
#else
constexpr uint32_t kLanes = 4;
#endif

typedef float f32v __attribute__((vector_size(4 * kLanes)));
typedef int32_t i32v __attribute__((vector_size(4 * kLanes)));
typedef uint32_t u32v __attribute__((vector_size(4 * kLanes)));
/** As many bytes as an f32v has. */
typedef int16_t i16v __attribute__((vector_size(4 * kLanes)));
typedef uint16_t u16v __attribute__((vector_size(4 * kLanes)));
typedef uint8_t u8v __attribute__((vector_size(4 * kLanes)));
/** One element for each lane of an f32v. */
typedef uint16_t u16_lanes __attribute__((vector_size(2 * kLanes)));
typedef uint8_t u8_lanes __attribute__((vector_size(kLanes)));

QUAVER_INLINE f32v splat(float x) { return x - f32v{}; }  // x − 0 is x for every x, −0 and NaN included
QUAVER_INLINE i32v splat(int32_t x) { return x - i32v{}; }

template <class V>
QUAVER_INLINE V load(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
QUAVER_INLINE void store(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

QUAVER_INLINE i32v bits(f32v x) { return reinterpret_cast<i32v>(x); }
QUAVER_INLINE f32v from_bits(i32v x) { return reinterpret_cast<f32v>(x); }
QUAVER_INLINE constexpr int32_t bits(float x) { return __builtin_bit_cast(int32_t, x); }
QUAVER_INLINE constexpr float from_bits(int32_t x) { return __builtin_bit_cast(float, x); }

QUAVER_INLINE constexpr uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }
QUAVER_INLINE constexpr uint32_t max(uint32_t a, uint32_t b) { return a > b ? a : b; }
QUAVER_INLINE constexpr uint32_t ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }
QUAVER_INLINE constexpr uint32_t round_up(uint32_t a, uint32_t b) { return ceil_div(a, b) * b; }

/** 0, 1, 2, … */
QUAVER_INLINE i32v lane_index() {
  i32v v;
  QUAVER_UNROLL
  for (uint32_t i = 0; i < kLanes; i++) v[i] = static_cast<int32_t>(i);
  return v;
}

/** Lanes of `a` where `mask` is all ones, of `b` where it is zero. */
QUAVER_INLINE i32v select(i32v mask, i32v a, i32v b) { return mask ? a : b; }
QUAVER_INLINE f32v select(i32v mask, f32v a, f32v b) { return mask ? a : b; }

QUAVER_INLINE f32v abs(f32v x) { return from_bits(bits(x) & 0x7fffffff); }
QUAVER_INLINE float abs(float x) { return from_bits(bits(x) & 0x7fffffff); }

/** a where a > b, else b: one instruction almost everywhere. Not symmetric for NaN and zeros of different sign. */
QUAVER_INLINE f32v larger(f32v a, f32v b) { return a > b ? a : b; }
QUAVER_INLINE i32v larger(i32v a, i32v b) { return a > b ? a : b; }

/** The larger of each pair; NaN when either is NaN; +0 above −0. */
QUAVER_INLINE f32v max(f32v a, f32v b) {
  const f32v equal_or_nan = select(a == b, from_bits(bits(a) & bits(b)), a + b);
  return select((a > b) | (a < b), larger(a, b), equal_or_nan);
}
/** The smaller of each pair; NaN when either is NaN; −0 below +0. */
QUAVER_INLINE f32v min(f32v a, f32v b) {
  const f32v equal_or_nan = select(a == b, from_bits(bits(a) | bits(b)), a + b);
  return select((a > b) | (a < b), select(a < b, a, b), equal_or_nan);
}

/** The lanes folded onto the first four, halves onto each other. */
template <class V, class Fold>
QUAVER_INLINE auto fold_to_4(V x, Fold fold) {
#if defined(__AVX512F__)
  const auto eight = fold(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7),
                          __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
#else
  const V eight = x;
#endif
#if defined(__AVX2__)
  return fold(__builtin_shufflevector(eight, eight, 0, 1, 2, 3), __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
#else
  (void)fold;
  return eight;
#endif
}

/** The sum of the lanes by the canonical tree: i + (i + lanes / 2), then halves again. */
QUAVER_INLINE float sum_of_lanes(f32v x) {
  const auto four = fold_to_4(x, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
  return (four[0] + four[2]) + (four[1] + four[3]);
}

/** The largest lane; none is NaN. */
template <class V>
QUAVER_INLINE auto max_of_lanes(V x) {
  const auto four = fold_to_4(x, [](auto a, auto b) __attribute__((always_inline)) { return a > b ? a : b; });
  const auto even = four[0] > four[2] ? four[0] : four[2], odd = four[1] > four[3] ? four[1] : four[3];
  return even > odd ? even : odd;
}

QUAVER_INLINE bool any(i32v mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(mask), reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256(reinterpret_cast<__m256i>(mask), reinterpret_cast<__m256i>(mask));
#else
  return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

QUAVER_INLINE f32v multiply_add(f32v a, f32v b, f32v c) { return a * b + c; }

/** a · b + c rounded once, where that is one instruction. Where the product is exact it gives the bits of multiply_add.
 */
#if defined(__AVX512F__)
constexpr bool kHasFusedMultiplyAdd = true;
QUAVER_INLINE f32v fused_multiply_add(f32v a, f32v b, f32v c) {
  return reinterpret_cast<f32v>(
      _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
}
#elif defined(__AVX2__) && defined(__FMA__)
constexpr bool kHasFusedMultiplyAdd = true;
QUAVER_INLINE f32v fused_multiply_add(f32v a, f32v b, f32v c) {
  return reinterpret_cast<f32v>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
}
#elif defined(__aarch64__)
constexpr bool kHasFusedMultiplyAdd = true;
QUAVER_INLINE f32v fused_multiply_add(f32v a, f32v b, f32v c) {
  return reinterpret_cast<f32v>(
      vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a), reinterpret_cast<float32x4_t>(b)));
}
#else
constexpr bool kHasFusedMultiplyAdd = false;
QUAVER_INLINE f32v fused_multiply_add(f32v a, f32v b, f32v c) { return a * b + c; }
#endif

/** Correctly rounded square root. */
QUAVER_INLINE f32v sqrt(f32v x) {
#if defined(__AVX512F__)
  return reinterpret_cast<f32v>(_mm512_maskz_sqrt_ps(0xffff, reinterpret_cast<__m512>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<f32v>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#elif defined(__SSE2__)
  return reinterpret_cast<f32v>(_mm_sqrt_ps(reinterpret_cast<__m128>(x)));
#elif defined(__wasm_simd128__)
  return reinterpret_cast<f32v>(wasm_f32x4_sqrt(reinterpret_cast<v128_t>(x)));
#elif defined(__aarch64__)
  return reinterpret_cast<f32v>(vsqrtq_f32(reinterpret_cast<float32x4_t>(x)));
#else
  return f32v{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
#endif
}
QUAVER_INLINE float sqrt(float x) { return sqrt(splat(x))[0]; }

/** a0 b0 a1 b1 … within each 16 bytes: of their lower halves, and of their upper halves. */
QUAVER_INLINE u8v interleave_low(u8v a, u8v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<u8v>(_mm512_unpacklo_epi8(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<u8v>(_mm256_unpacklo_epi8(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#endif
}
QUAVER_INLINE u8v interleave_high(u8v a, u8v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<u8v>(_mm512_unpackhi_epi8(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<u8v>(_mm256_unpackhi_epi8(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#endif
}
QUAVER_INLINE u16v interleave_low(u16v a, u16v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<u16v>(_mm512_unpacklo_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<u16v>(_mm256_unpacklo_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#endif
}
QUAVER_INLINE u16v interleave_high(u16v a, u16v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<u16v>(_mm512_unpackhi_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<u16v>(_mm256_unpackhi_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#endif
}

QUAVER_INLINE f32v interleave_low(f32v a, f32v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<f32v>(_mm512_unpacklo_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}
QUAVER_INLINE f32v interleave_high(f32v a, f32v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<f32v>(_mm512_unpackhi_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}
/** The same with two lanes at a time: a0 a1 b0 b1. */
QUAVER_INLINE f32v interleave_low_pairs(f32v a, f32v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<f32v>(_mm512_unpacklo_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
#else
  return __builtin_shufflevector(a, b, 0, 1, 4, 5);
#endif
}
QUAVER_INLINE f32v interleave_high_pairs(f32v a, f32v b) {
#if defined(__AVX512F__)
  return reinterpret_cast<f32v>(_mm512_unpackhi_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
#else
  return __builtin_shufflevector(a, b, 2, 3, 6, 7);
#endif
}

/** Lane j of rows[i] and lane i of rows[j] change places. */
QUAVER_INLINE void transpose(f32v rows[kLanes]) {
  f32v pairs[kLanes], fours[kLanes];
  QUAVER_UNROLL
  for (uint32_t i = 0; i < kLanes; i += 2) {
    pairs[i] = interleave_low(rows[i], rows[i + 1]);
    pairs[i + 1] = interleave_high(rows[i], rows[i + 1]);
  }
  // fours[4g + i] has, in its 16-byte part p, column 4p + i of the rows 4g … 4g + 3.
  QUAVER_UNROLL
  for (uint32_t i = 0; i < kLanes; i += 4) {
    fours[i] = interleave_low_pairs(pairs[i], pairs[i + 2]);
    fours[i + 1] = interleave_high_pairs(pairs[i], pairs[i + 2]);
    fours[i + 2] = interleave_low_pairs(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = interleave_high_pairs(pairs[i + 1], pairs[i + 3]);
  }
  QUAVER_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
#if defined(__AVX512F__)
    const __m512 a = reinterpret_cast<__m512>(fours[i]), b = reinterpret_cast<__m512>(fours[4 + i]),
                 c = reinterpret_cast<__m512>(fours[8 + i]), d = reinterpret_cast<__m512>(fours[12 + i]);
    const __m512 ab_even = _mm512_shuffle_f32x4(a, b, 0x88), ab_odd = _mm512_shuffle_f32x4(a, b, 0xdd);
    const __m512 cd_even = _mm512_shuffle_f32x4(c, d, 0x88), cd_odd = _mm512_shuffle_f32x4(c, d, 0xdd);
    rows[i] = reinterpret_cast<f32v>(_mm512_shuffle_f32x4(ab_even, cd_even, 0x88));
    rows[4 + i] = reinterpret_cast<f32v>(_mm512_shuffle_f32x4(ab_odd, cd_odd, 0x88));
    rows[8 + i] = reinterpret_cast<f32v>(_mm512_shuffle_f32x4(ab_even, cd_even, 0xdd));
    rows[12 + i] = reinterpret_cast<f32v>(_mm512_shuffle_f32x4(ab_odd, cd_odd, 0xdd));
#elif defined(__AVX2__)
    rows[i] = __builtin_shufflevector(fours[i], fours[4 + i], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[4 + i] = __builtin_shufflevector(fours[i], fours[4 + i], 4, 5, 6, 7, 12, 13, 14, 15);
#else
    rows[i] = fours[i];
#endif
  }
}

}  // namespace quaver::QUAVER_ISA
