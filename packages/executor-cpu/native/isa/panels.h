// Packed weights: panels of kPanel outputs, k innermost but one, so that a register holds the same k of kLanes outputs.
//
// A panel is a 64-byte header followed by kPanel × k_padded elements, k_padded = k rounded up to a multiple of 4, padded
// with +0. Elements come in units of a few k and a few registers of outputs; units of the same k are neighbours:
//   f32          1 k, 1 register: [k / 128][outputs / kSub][k in block][kSub], already the layout of a tile
//   bf16         2 k, 1 register: a 32-bit lane holds k in its upper half and k + 1 in its lower half
//   fp8, pairs   2 k, 2 registers: a 16-bit lane holds k in its upper half and k + 1 in its lower half
//   fp8, quads   4 k, 1 register: a 32-bit lane holds k, k+1, k+2, k+3 from its lowest byte on
// Pairs suit processors that convert f16 or permute bytes in hardware, quads those that must do with shifts.
#pragma once
#include "formats.h"

namespace quaver::QUAVER_ISA {

/** Registers of outputs of one call of the inner kernel: with kMaxRows rows the accumulators fill the register file. */
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr uint32_t kSubRegs = 4;
#else
constexpr uint32_t kSubRegs = 2;
#endif
/** Outputs of one call of the inner kernel. */
constexpr uint32_t kSub = kSubRegs * kLanes;
/** Rows of one call: kMaxRows × kSubRegs accumulators, kSubRegs registers of weights and one broadcast. */
constexpr uint32_t kMaxRows = 6;

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__aarch64__)
constexpr uint32_t kPanel = 64;
#else
constexpr uint32_t kPanel = 32;
#endif
constexpr uint32_t kPanelRegs = kPanel / kLanes;

#if defined(__AVX512VBMI__)
constexpr bool kByteTables = true, kHalfPrecision = false;
#elif (defined(__AVX512F__) || (defined(__AVX2__) && defined(__F16C__)) || defined(__aarch64__))
constexpr bool kByteTables = false, kHalfPrecision = true;
#else
constexpr bool kByteTables = false, kHalfPrecision = false;
#endif
constexpr bool kPairs = kByteTables || kHalfPrecision;

struct alignas(64) PanelHeader {
  /** FP8: the panel has only codes that the fast decode of this instruction set reads exactly and fast. */
  uint32_t plain;
};

constexpr bool is_f8(Format format) { return format == Format::f8e4m3fn || format == Format::f8e5m2; }

constexpr uint32_t unit_k(Format format) {
  return format == Format::f32 ? 1 : format == Format::bf16 || kPairs ? 2 : 4;
}
constexpr uint32_t unit_regs(Format format) { return is_f8(format) && kPairs ? 2 : 1; }
constexpr uint32_t unit_bytes(Format format) {
  return unit_k(format) * unit_regs(format) * kLanes * bytes_of(format);
}

QUAVER_INLINE uint32_t padded_k(uint32_t k) { return round_up(k, 4); }
QUAVER_INLINE size_t panel_bytes(Format format, uint32_t k) {
  return sizeof(PanelHeader) + ((size_t{kPanel} * padded_k(k) * bytes_of(format) + 63) & ~size_t{63});
}

/** The 16-bit lane of an FP8 pair unit that holds output `o`: byte tables expand the lanes out of order. */
constexpr uint32_t pair_lane(uint32_t o) {
  return kByteTables ? (o % 16 / 4) * 8 + o / 16 * 4 + o % 4 : o;
}

/** Where the units of a panel are; `data` follows the header. */
template <Format F>
struct Units {
  /** Bytes between units of neighbouring k. */
  static constexpr size_t stride = F == Format::f32 ? kSub * sizeof(float) : kPanel * unit_k(F) * bytes_of(F);

  /** The unit of k (a multiple of unit_k) that holds register `reg` of the outputs. */
  static QUAVER_INLINE size_t offset(uint32_t k, uint32_t reg, uint32_t k_padded) {
    if constexpr (F == Format::f32) {
      const uint32_t block = k / kPromote * kPromote;
      const uint32_t in_block = min(kPromote, k_padded - block);
      return sizeof(float) * (size_t{block} * kPanel + (reg / kSubRegs * in_block + k - block) * kSub +
                              reg % kSubRegs * kLanes);
    }
    return k / unit_k(F) * stride + reg / unit_regs(F) * size_t{unit_bytes(F)};
  }
};

/**
 * Some decodes leave FP8 weights "parked" below their value by a power of two, which is cheaper; FP8 activations are
 * then staged larger by a power of two, so that nothing between leaves the f32 normal range. Both are exact.
 * What this product does not undo, `restore` of the decoder does at the end of a block.
 */
constexpr bool is_parked(Format a, Format w) { return is_f8(a) && is_f8(w); }
constexpr float kQuadActivationScale = 0x1p108f;
constexpr float kHalfParking = 0x1p-8f;
constexpr float activation_scale(Format a, Format w) {
  if (!is_parked(a, w) || kByteTables) return 1;
  if (kHalfPrecision) return w == Format::f8e4m3fn ? 1 / kHalfParking : 1;
  return kQuadActivationScale;
}

/** Whether bfloat16 dot instructions beat f32 multiply-adds on this processor; then operands are staged as pairs. */
bool dpbf16_is_fast();
QUAVER_INLINE bool uses_pairs(Format a, Format w) {
  return a != Format::f32 && w != Format::f32 && dpbf16_is_fast();
}

/** A staged row block: kPromote f32 words, or half as many BF16 pairs. */
constexpr uint32_t staged_words(bool pairs) { return pairs ? kPromote / 2 : kPromote; }

}  // namespace quaver::QUAVER_ISA
