// The only place that knows how four f32 lanes are spelled. Clang's vector extensions compile to WebAssembly SIMD128,
// SSE, NEON or, on a target without vectors, to scalar code; every operation is one IEEE operation per lane.
//
// The kernels must be built with -ffp-contract=off: a fused multiply-add rounds once where the canonical order rounds
// twice.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define QUAVER_INLINE inline __attribute__((always_inline))
#if defined(__wasm__)
#define QUAVER_KERNEL(name) extern "C" __attribute__((export_name(#name)))
#else
#define QUAVER_KERNEL(name) extern "C" __attribute__((visibility("default")))
#endif

namespace quaver {

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint16_t u16x4 __attribute__((vector_size(8)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x4 __attribute__((vector_size(4)));

constexpr uint32_t kLanes = 4;

QUAVER_INLINE f32x4 splat(float x) { return f32x4{x, x, x, x}; }
QUAVER_INLINE i32x4 splat(int32_t x) { return i32x4{x, x, x, x}; }

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

QUAVER_INLINE i32x4 bits(f32x4 x) { return reinterpret_cast<i32x4>(x); }
QUAVER_INLINE f32x4 from_bits(i32x4 x) { return reinterpret_cast<f32x4>(x); }
QUAVER_INLINE constexpr int32_t bits(float x) { return __builtin_bit_cast(int32_t, x); }
QUAVER_INLINE constexpr float from_bits(int32_t x) { return __builtin_bit_cast(float, x); }

/** a0 b0 a1 b1 … of the lower halves, and of the upper halves. */
QUAVER_INLINE u8x16 interleave_low(u8x16 a, u8x16 b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
QUAVER_INLINE u8x16 interleave_high(u8x16 a, u8x16 b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
QUAVER_INLINE u16x8 interleave_low(u16x8 a, u16x8 b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
QUAVER_INLINE u16x8 interleave_high(u16x8 a, u16x8 b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Lanes of `a` where `mask` is all ones, of `b` where it is zero. */
QUAVER_INLINE i32x4 select(i32x4 mask, i32x4 a, i32x4 b) { return (mask & a) | (~mask & b); }
QUAVER_INLINE f32x4 select(i32x4 mask, f32x4 a, f32x4 b) { return from_bits(select(mask, bits(a), bits(b))); }

QUAVER_INLINE f32x4 abs(f32x4 x) { return from_bits(bits(x) & 0x7fffffff); }
QUAVER_INLINE float abs(float x) { return from_bits(bits(x) & 0x7fffffff); }

/** The larger of each pair; NaN when either is NaN; +0 above −0. */
QUAVER_INLINE f32x4 max(f32x4 a, f32x4 b) {
#if defined(__wasm_simd128__)
  return __builtin_wasm_max_f32x4(a, b);
#else
  const f32x4 larger = select(a > b, a, b);
  const f32x4 equal_or_nan = select(a == b, from_bits(bits(a) & bits(b)), a + b);
  return select((a > b) | (a < b), larger, equal_or_nan);
#endif
}
QUAVER_INLINE float max(float a, float b) { return max(splat(a), splat(b))[0]; }

QUAVER_INLINE float max_of_lanes(f32x4 x) { return max(max(x[0], x[1]), max(x[2], x[3])); }

/** Correctly rounded square root. */
QUAVER_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }

QUAVER_INLINE uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }
QUAVER_INLINE uint32_t max(uint32_t a, uint32_t b) { return a > b ? a : b; }
QUAVER_INLINE uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }
QUAVER_INLINE uint32_t round_up(uint32_t a, uint32_t b) { return ceil_div(a, b) * b; }

}  // namespace quaver
