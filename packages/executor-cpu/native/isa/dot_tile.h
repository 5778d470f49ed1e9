// The register-blocked inner kernel of GEMM: a few staged rows times a tile of decoded weights.
//
// Canonical order: one accumulator per output, k ascending. Lanes and registers hold different outputs, never different
// k, so the bits of an output do not depend on how many rows are computed together.
#pragma once
#include "gemm_sums.h"

namespace quaver::QUAVER_ISA {

// A step reads one 32-bit word of each row and a register of words of the tile, and says how an accumulator takes in
// their product.

/** Words are f32; rounded after the product and after the sum. */
struct MultiplyThenAdd {
  static constexpr uint32_t k = 1;
  static QUAVER_INLINE f32v apply(f32v acc, f32v x, f32v w) { return multiply_add(x, w, acc); }
};

/** The same bits where the product is exact in f32 (FP8 and BF16 operands), in one instruction where there is one. */
struct MultiplyAdd {
  static constexpr uint32_t k = 1;
  static QUAVER_INLINE f32v apply(f32v acc, f32v x, f32v w) { return fused_multiply_add(x, w, acc); }
};

#if defined(__AVX512BF16__)
/** Words are BF16 pairs: the upper half, which holds the smaller k, is multiplied and added first, then the lower. */
struct DotPairs {
  static constexpr uint32_t k = 2;
  static QUAVER_INLINE f32v apply(f32v acc, f32v x, f32v w) { return _mm512_dpbf16_ps(acc, (__m512bh)x, (__m512bh)w); }
};
#endif

/** Words of a staged row block. */
template <class Step>
constexpr uint32_t kRowWords = kPromote / Step::k;

/** What one call of the inner kernel needs besides the row. */
struct TileDot {
  /** Row 0, first word of the segment; rows are kRowWords apart. */
  const float* a;
  /** [steps][kSub]. */
  const float* tile;
  uint32_t steps;
  /** First of the kSubRegs registers of the panel that this tile holds. */
  uint32_t reg0;
  AddBlock add;
};

/** Cache lines to ask for while computing: the next tile's packed weights. */
struct Ahead {
  const uint8_t* at;
  size_t step;
};

/** Adds Σ_k a[row + r][k] · tile[k] to the sums of Rows rows and kSubRegs registers. */
template <class Step, uint32_t Rows>
__attribute__((noinline)) void dot_rows(const TileDot& dot, uint32_t row, Ahead ahead) {
  const float *a = dot.a + row * kRowWords<Step>, *tile = dot.tile;
  f32v acc[Rows][kSubRegs];
  dot.add.start(row, dot.reg0, acc);
  const auto step = [&]() __attribute__((always_inline)) {
    f32v words[kSubRegs];
    QUAVER_UNROLL
    for (uint32_t reg = 0; reg < kSubRegs; reg++) words[reg] = load<f32v>(tile + reg * kLanes);
    QUAVER_UNROLL
    for (uint32_t r = 0; r < Rows; r++) {
      const f32v x = splat(load<float>(a + r * kRowWords<Step>));
      QUAVER_UNROLL
      for (uint32_t reg = 0; reg < kSubRegs; reg++) acc[r][reg] = Step::apply(acc[r][reg], x, words[reg]);
    }
    a++;
    tile += kSub;
  };
  for (uint32_t fours = dot.steps / 4; fours > 0; fours--) {
    __builtin_prefetch(ahead.at);
    ahead.at += ahead.step;
    QUAVER_UNROLL
    for (uint32_t i = 0; i < 4; i++) step();
  }
  for (uint32_t rest = dot.steps % 4; rest > 0; rest--) step();
  dot.add.finish(row, dot.reg0, acc);
}

/** dot_rows for any number of rows, in groups of nearly equal size, while `ahead_bytes` from `ahead` on are fetched. */
template <class Step>
QUAVER_INLINE void dot_tile(const TileDot& dot, uint32_t rows, const uint8_t* ahead, size_t ahead_bytes) {
  for (uint32_t row = 0, groups = ceil_div(rows, kMaxRows); row < rows; groups--) {
    const uint32_t count = ceil_div(rows - row, groups);
    const bool more = ahead_bytes >= dot.steps / 4 * 64;
    const Ahead lines{ahead, more ? 64u : 0u};
    if (more) ahead += dot.steps / 4 * 64, ahead_bytes -= dot.steps / 4 * 64;
    switch (count) {
      case 1: dot_rows<Step, 1>(dot, row, lines); break;
      case 2: dot_rows<Step, 2>(dot, row, lines); break;
      case 3: dot_rows<Step, 3>(dot, row, lines); break;
      case 4: dot_rows<Step, 4>(dot, row, lines); break;
      case 5: dot_rows<Step, 5>(dot, row, lines); break;
      default: dot_rows<Step, 6>(dot, row, lines); break;
    }
    row += count;
  }
}

}  // namespace quaver::QUAVER_ISA
