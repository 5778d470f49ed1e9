// Attention in one pass over the cache, with a running maximum and sum ("flash attention"): each block of 128 keys is
// scored, exponentiated and weighed at once, and what was summed before is rescaled when a larger score comes. The
// result depends on how the keys are blocked.
#include "attention_fast.h"

#include "reduce.h"

namespace quaver::QUAVER_ISA {
namespace {

class FastAttention {
 public:
  FastAttention(const Attention& x, const AttentionPlan& plan, const AttentionUnit& unit, float* scratch)
      : x_(x),
        plan_(plan),
        unit_(unit),
        keys_(x, unit),
        factors_(scratch),
        queries_(factors_ + kPromote),
        sums_(queries_ + size_t{plan.max_rows()} * plan.d_padded),
        tile_(sums_ + size_t{plan.max_rows()} * plan.d_padded),
        scores_(tile_ + size_t{kPromote} * plan.d_padded),
        largest_(scores_ + size_t{plan.max_rows()} * kPromote),
        totals_(largest_ + plan.max_rows()),
        staging_(totals_ + plan.max_rows()) {}

  void run() {
    const uint32_t rows = unit_.rows();
    __builtin_memset(sums_, 0, size_t{rows} * plan_.d_padded * sizeof(float));
    for (uint32_t row = 0; row < rows; row++) {
      largest_[row] = -kInfinity;
      totals_[row] = 0;
    }
    const bool moderate = decode_queries(x_, unit_, queries_, plan_.d_padded) && is_moderate(x_.scale);
    for (uint32_t key = keys_.from; key < keys_.to; key += kPromote) {
      const uint32_t count = min(kPromote, keys_.to - key);
      score(key, count, moderate);
      for (uint32_t row = 0; row < rows; row++) exponentiate(row, key, count);
      weigh(key, count);
    }
    for (uint32_t row = 0; row < rows; row++) scale_sums(row, totals_[row] > 0 ? 1 / totals_[row] : 0);
    write_sums(x_, unit_, sums_, plan_.d_padded);
  }

 private:
  const Attention& x_;
  const AttentionPlan& plan_;
  const AttentionUnit unit_;
  const UnitKeys keys_;
  float *const factors_, *const queries_, *const sums_, *const tile_, *const scores_, *const largest_, *const totals_,
      *const staging_;

  void score(uint32_t first, uint32_t count, bool moderate) {
    const UnitCache keys(x_, unit_, x_.k, x_.k_scales, kDotWidth, staging_);
    for (uint32_t i = 0; i < count; i += kDotWidth) {
      const uint32_t width = min(kDotWidth, count - i);
      decode_keys(keys.tile(first + i, width), width, moderate, x_.scale, tile_, factors_);
      dot_columns(true,
                  {queries_, plan_.d_padded, tile_, kDotWidth, x_.d, scores_ + i, kPromote, false, factors_, nullptr},
                  unit_.rows(), kDotWidth);
    }
  }

  /** Scores of one row into exp(score − largest so far). */
  void exponentiate(uint32_t row, uint32_t first, uint32_t count) {
    const Visible keys = keys_.of_step[row / unit_.heads];
    float* x = scores_ + row * kPromote;
    for (uint32_t i = 0; i < kPromote; i++)
      if (i >= count || first + i < keys.from || first + i >= keys.to) x[i] = -kInfinity;
    const float before = largest_[row], block = row_max(x, kPromote);
    const float largest = block > before ? block : before;
    if (largest == -kInfinity) return __builtin_memset(x, 0, kPromote * sizeof(float)), void();
    if (largest > before) {
      const float factor = exp(splat(before - largest))[0];
      largest_[row] = largest;
      totals_[row] = totals_[row] * factor;
      scale_sums(row, factor);
    }
    totals_[row] += sum_of_exp(x, largest, kPromote, [&](uint32_t i, f32v e, uint32_t) {
      store(x + i, x_.probs == Format::f32 ? e : round_to_bf16(e));
    });
  }

  void scale_sums(uint32_t row, float factor) {
    float* sums = sums_ + size_t{row} * plan_.d_padded;
    for (uint32_t i = 0; i < plan_.d_padded; i += kLanes) store(sums + i, load<f32v>(sums + i) * factor);
  }

  void weigh(uint32_t first, uint32_t count) {
    const UnitCache values(x_, unit_, x_.v, x_.v_scales, kPrefetchedValues, staging_);
    const uint32_t tile_stride = padded_d(x_.cache, x_.d), rows = unit_.rows();
    if (decode_values(values.tile(first, count), count, false, tile_, factors_).late)
      for (uint32_t row = 0; row < rows; row++)
        for (uint32_t i = 0; i < kPromote; i += kLanes)
          store(scores_ + row * kPromote + i, load<f32v>(scores_ + row * kPromote + i) * load<f32v>(factors_ + i));
    dot_columns(true, {scores_, kPromote, tile_, tile_stride, count, sums_, plan_.d_padded, true, nullptr, nullptr},
                rows, tile_stride);
  }
};

}  // namespace

size_t fast_attention_floats(const Attention& x, const AttentionPlan& plan) {
  return kPromote + size_t{plan.max_rows()} * (2 * plan.d_padded + kPromote + 2) + size_t{kPromote} * plan.d_padded +
         staging_floats(x);
}

void fast_attention(const Attention& x, const AttentionPlan& plan, const AttentionUnit& unit, float* scratch) {
  FastAttention(x, plan, unit, scratch).run();
}

}  // namespace quaver::QUAVER_ISA
