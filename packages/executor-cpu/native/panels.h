// Packed weights: panels of 32 outputs, k innermost but one, so that a register holds the same k of 4 outputs.
//
// A panel is a 16-byte header followed by 32 × k_padded elements, k_padded = k rounded up to a multiple of 4, padded
// with +0:
//   f32       [k / 128][4 groups of 8 outputs][k in block][8 outputs]     already the layout of dot_tile
//   bf16      [k / 2][8 registers][4 outputs][k, k+1]
//   fp8       [k / 4][8 registers][4 outputs][k, k+1, k+2, k+3]
#pragma once
#include "dot_tile.h"
#include "formats.h"

namespace quaver {

struct alignas(16) PanelHeader {
  /** FP8: no Inf or NaN code and hardly a subnormal one, so that decode_parked is exact and fast. */
  uint32_t parkable;
};

QUAVER_INLINE uint32_t padded_k(uint32_t k) { return round_up(k, 4); }
QUAVER_INLINE size_t panel_bytes(Format format, uint32_t k) {
  return sizeof(PanelHeader) + size_t{kPanel} * padded_k(k) * bytes_of(format);
}

/**
 * FP8 dots run on scaled operands: activations times 2^108, weights "parked" below their value by a power of two. Both
 * factors and their removal are exact, and every intermediate value stays inside the f32 normal range.
 */
constexpr float kActivationScale = 0x1p108f;

template <Format F>
struct Parked {
  /** Weights decoded by shifts alone keep the narrow exponent: 2^(bias − 127) times their value, subnormals as f32
   * subnormals. */
  static constexpr int shifted_exponent = F8<F>::bias - 127;
  /** Weights decoded exactly are parked where the smallest FP8 number is still a normal f32. */
  static constexpr float exact = 0x1p-110f;
  /** What undoes activation scale and parking at the end of a segment. */
  static constexpr float restore_shifted = from_bits((127 - 108 - shifted_exponent) << 23);
  static constexpr float restore_exact = 0x1p2f;
  static constexpr int32_t mask16 = F == Format::f8e4m3fn ? 0x87f0 : 0x8fe0;
  static constexpr int shift16 = F == Format::f8e4m3fn ? 4 : 3;
};

/** The parked values of k, k+1, k+2, k+3 for the four outputs of one register of codes. */
template <Format F>
QUAVER_INLINE void decode_shifted(i32x4 codes, f32x4 values[4]) {
  // A 16-bit lane holds two codes. Shifted down arithmetically, one code is the upper half of an f32.
  const i16x8 pairs = reinterpret_cast<i16x8>(codes);
  const i16x8 mask = reinterpret_cast<i16x8>(splat(Parked<F>::mask16 | (Parked<F>::mask16 << 16)));
  const i32x4 odd = reinterpret_cast<i32x4>((pairs >> Parked<F>::shift16) & mask);
  const i32x4 even = reinterpret_cast<i32x4>(((pairs << 8) >> Parked<F>::shift16) & mask);
  constexpr int32_t upper_half = static_cast<int32_t>(0xffff0000);
  values[0] = from_bits(even << 16);
  values[1] = from_bits(odd << 16);
  values[2] = from_bits(even & upper_half);
  values[3] = from_bits(odd & upper_half);
}

/** Like decode_shifted for any code, without f32 subnormals: parked by `Parked<F>::exact`. */
template <Format F>
QUAVER_INLINE void decode_exact(i32x4 codes, f32x4 values[4]) {
#pragma clang loop unroll(full)
  for (uint32_t i = 0; i < 4; i++) values[i] = decode_f8<F>(codes >> (8 * i)) * Parked<F>::exact;
}

}  // namespace quaver
