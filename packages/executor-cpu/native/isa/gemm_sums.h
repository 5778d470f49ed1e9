// Where the outputs of a panel gather, and what happens to a finished block sum.
#pragma once
#include "panels.h"

namespace quaver::QUAVER_ISA {

/**
 * The sums of one panel for a range of rows. They gather in scratch, not in the output: rows of an output are often a
 * power of two apart, which would crowd them into a few sets of every cache.
 */
struct PanelSums {
  float* first;

  QUAVER_INLINE float* at(uint32_t row, uint32_t reg) const { return first + row * kPanel + reg * kLanes; }

  void clear(uint32_t rows) const {
    for (uint32_t i = 0; i < rows * kPanelRegs; i++) store(at(0, i), f32v{});
  }
  /** From and to a part of the output, whose last panel may be narrower. */
  void read(const float* out, size_t stride, uint32_t rows, uint32_t columns) const {
    for (uint32_t row = 0; row < rows; row++) copy(at(row, 0), out + row * stride, columns);
  }
  void write(float* out, size_t stride, uint32_t rows, uint32_t columns) const {
    for (uint32_t row = 0; row < rows; row++) copy(out + row * stride, at(row, 0), columns);
  }

 private:
  static QUAVER_INLINE void copy(float* to, const float* from, uint32_t columns) {
    if (columns != kPanel) return void(__builtin_memcpy(to, from, columns * sizeof(float)));
    QUAVER_UNROLL
    for (uint32_t reg = 0; reg < kPanelRegs; reg++) store(to + reg * kLanes, load<f32v>(from + reg * kLanes));
  }
};

/** What scales a block sum: nothing, or a factor for each row times a factor for each output. Absent ones are 1. */
struct BlockScales {
  alignas(64) float w[kPanel];
  const float* a;
  size_t a_stride;
  bool scaled;

  explicit BlockScales(const Gemm& g) : a_stride(g.a_row_stride), scaled(g.a_scales || g.w_scales) {
    static const float one = 1;
    if (!g.a_scales) a = &one, a_stride = 0;
    for (float& scale : w) scale = 1;
  }

  /** Scales of k-block `block` for rows from `row0` on and the outputs of `panel`. */
  void select(const Gemm& g, uint32_t row0, uint32_t panel, uint32_t block) {
    if (g.a_scales) a = g.a_scales + row0 * g.a_row_stride + block * g.a_block_stride;
    if (!g.w_scales) return;
    const float* from = g.w_scales + block * g.w_block_stride;
    const uint32_t n0 = panel * kPanel, n1 = min(n0 + kPanel, g.n);
    if (n0 / g.block_n == (n1 - 1) / g.block_n) {
      const f32v scale = splat(from[n0 / g.block_n * g.w_row_stride]);
      for (uint32_t reg = 0; reg < kPanelRegs; reg++) store(w + reg * kLanes, scale);
    } else if (g.block_n == 1) {
      for (uint32_t n = n0; n < n1; n++) w[n - n0] = from[n * g.w_row_stride];
    } else {
      for (uint32_t n = n0; n < n1; n++) w[n - n0] = from[n / g.block_n * g.w_row_stride];
    }
  }

  QUAVER_INLINE f32v of(uint32_t row, uint32_t reg) const {
    return splat(a[row * a_stride]) * load<f32v>(w + reg * kLanes);
  }
};

/** Adds block sums to the outputs: rounded three times in the canonical order, fused in the fast one. */
struct AddBlock {
  PanelSums sums;
  const BlockScales* scales;
  Reduction reduction;
  /** Undoes what parking has left. */
  float restore;

  /** The fast order keeps adding to the same accumulators where no scale forbids it. */
  QUAVER_INLINE bool continues() const {
    return reduction == Reduction::fast && !scales->scaled && restore == 1;
  }

  template <uint32_t Rows, uint32_t Regs>
  QUAVER_INLINE void start(uint32_t row, uint32_t reg0, f32v (&acc)[Rows][Regs]) const {
    const bool from_sums = continues();
    QUAVER_UNROLL
    for (uint32_t r = 0; r < Rows; r++) {
      QUAVER_UNROLL
      for (uint32_t reg = 0; reg < Regs; reg++)
        acc[r][reg] = from_sums ? load<f32v>(sums.at(row + r, reg0 + reg)) : f32v{};
    }
  }

  template <uint32_t Rows, uint32_t Regs>
  QUAVER_INLINE void finish(uint32_t row, uint32_t reg0, f32v (&acc)[Rows][Regs]) const {
    if (continues()) return each(row, reg0, acc, [](f32v sum, f32v, uint32_t, uint32_t) { return sum; });
    if (restore != 1) multiply(acc, restore);
    if (!scales->scaled)
      each(row, reg0, acc, [](f32v sum, f32v out, uint32_t, uint32_t) { return out + sum; });
    else if (reduction == Reduction::canonical)
      each(row, reg0, acc, [this](f32v sum, f32v out, uint32_t r, uint32_t reg) {
        return out + sum * scales->of(r, reg);
      });
    else
      each(row, reg0, acc, [this](f32v sum, f32v out, uint32_t r, uint32_t reg) {
        return fused_multiply_add(sum, scales->of(r, reg), out);
      });
  }

 private:
  template <uint32_t Rows, uint32_t Regs>
  static QUAVER_INLINE void multiply(f32v (&acc)[Rows][Regs], float factor) {
    QUAVER_UNROLL
    for (uint32_t r = 0; r < Rows; r++) {
      QUAVER_UNROLL
      for (uint32_t reg = 0; reg < Regs; reg++) acc[r][reg] = acc[r][reg] * factor;
    }
  }
  /** out = combine(acc, out, row, reg). */
  template <uint32_t Rows, uint32_t Regs, class Combine>
  QUAVER_INLINE void each(uint32_t row, uint32_t reg0, f32v (&acc)[Rows][Regs], Combine combine) const {
    QUAVER_UNROLL
    for (uint32_t r = 0; r < Rows; r++) {
      QUAVER_UNROLL
      for (uint32_t reg = 0; reg < Regs; reg++) {
        float* at = sums.at(row + r, reg0 + reg);
        store(at, combine(acc[r][reg], load<f32v>(at), row + r, reg0 + reg));
      }
    }
  }
};

}  // namespace quaver::QUAVER_ISA
