// Attention over a KV cache, in the canonical order: softmax(q · kᵀ · scale) · v for every query row.
//
// The query rows of a unit go through all keys together: first all their scores, a tile of keys at a time; then the
// softmax of each row, which needs its largest score; then the values, a block of 128 at a time.
#include "attention.h"

#include "attention_fast.h"
#include "attention_plan.h"
#include "attention_probabilities.h"
#include "reduce.h"

namespace quaver::QUAVER_ISA {
namespace {

class CanonicalAttention {
 public:
  CanonicalAttention(const Attention& x, const AttentionPlan& plan, const AttentionUnit& unit, float* scratch)
      : x_(x),
        plan_(plan),
        unit_(unit),
        scratch_(scratch),
        keys_(x, unit),
        from_(keys_.from / kPromote * kPromote) {}

  void run() {
    score();
    for (uint32_t row = 0; row < unit_.rows(); row++) probabilities(row);
    weigh_values();
    write_sums(x_, unit_, sums(0), plan_.d_padded);
  }

 private:
  const Attention& x_;
  const AttentionPlan& plan_;
  const AttentionUnit unit_;
  float* const scratch_;
  const UnitKeys keys_;
  /** The block of 128 positions where the scores begin. */
  const uint32_t from_;

  float* tile() const { return scratch_ + plan_.tile(); }
  float* factors() const { return scratch_ + plan_.factors(); }
  float* sums(uint32_t row) const { return scratch_ + plan_.sums() + size_t{row} * plan_.d_padded; }
  /** Score or probability of a row and key. */
  float* scores(uint32_t row, uint32_t key) const {
    return scratch_ + plan_.scores() + size_t{row} * plan_.keys_padded + (key - from_);
  }
  bool is_fused() const { return x_.cache != Format::f32; }
  /** Probabilities that stay f32 have no exact products. */
  bool is_weighing_fused() const { return is_fused() && x_.probs != Format::f32; }

  /** scores = q · k · scale, for all rows and the keys that any of them sees. */
  void score() {
    float* queries = scratch_ + plan_.queries();
    const bool moderate = decode_queries(x_, unit_, queries, plan_.d_padded) && is_moderate(x_.scale);
    const UnitCache keys(x_, unit_, x_.k, x_.k_scales, kDotWidth, scratch_ + plan_.staging());
    for (uint32_t key = from_; key < keys_.to; key += kDotWidth) {
      const uint32_t count = min(kDotWidth, keys_.to - key);
      decode_keys(keys.tile(key, count), count, moderate, x_.scale, tile(), factors());
      for (uint32_t d = 0; d < x_.d; d += kPromote) {
        const bool is_last = x_.d - d <= kPromote;
        dot_columns(is_fused(),
                    {queries + d, plan_.d_padded, tile() + size_t{d} * kDotWidth, kDotWidth, min(kPromote, x_.d - d),
                     scores(0, key), plan_.keys_padded, d > 0, is_last ? factors() : nullptr, nullptr},
                    unit_.rows(), kDotWidth);
      }
    }
  }

  /** Scores of one row into probabilities, in place; those of keys that other rows see alone become 0. */
  void probabilities(uint32_t row) {
    const Visible keys = keys_.of_step[row / unit_.heads];
    const uint32_t end = keys_.to;
    if (keys.from >= keys.to) {
      if (from_ < end) __builtin_memset(scores(row, from_), 0, (end - from_) * sizeof(float));
      return;
    }
    // Whole sets of 16 partials; a masked key adds exp(−Inf) = +0 to its partial, that is nothing.
    const uint32_t first = keys.from / 16 * 16, count = round_up(keys.to, 16) - first;
    float* x = scores(row, first);
    for (uint32_t i = 0; i < keys.from - first; i++) x[i] = -kInfinity;
    for (uint32_t i = keys.to - first; i < count; i++) x[i] = -kInfinity;
    const float total = sum_of_exp(x, row_max(x, count), count, [&](uint32_t i, f32v e, uint32_t) { store(x + i, e); });
    divide_and_round(x_.probs, x, count, total);
    __builtin_memset(scores(row, from_), 0, (first - from_) * sizeof(float));
    if (first + count < end) __builtin_memset(x + count, 0, (end - first - count) * sizeof(float));
  }

  /** sums[row][d] = Σ p · v, a fresh accumulator for every 128 key positions. */
  void weigh_values() {
    __builtin_memset(sums(0), 0, size_t{unit_.rows()} * plan_.d_padded * sizeof(float));
    for (uint32_t block = from_; block < keys_.to; block += kPromote) {
      const uint32_t begin = max(block, keys_.from), end = min(block + kPromote, keys_.to);
      for (uint32_t key = begin; key < end; key += plan_.value_keys) {
        const uint32_t next = min(key + plan_.value_keys, end);
        weigh(key, next - key, key > begin, next == end);
      }
    }
  }

  /** A tile of values: the rest of the sum of a block where that has begun, and added to the output where it ends. */
  void weigh(uint32_t first, uint32_t count, bool begun, bool ends) {
    // Rows of one token see the same keys: all that are taken here.
    const bool rows_differ = unit_.steps > 1;
    const UnitCache values(x_, unit_, x_.v, x_.v_scales, kPrefetchedValues, scratch_ + plan_.staging());
    const ValueTile decoded = decode_values(values.tile(first, count), count, rows_differ, tile(), factors());
    const uint32_t rows = unit_.rows(), columns = padded_d(x_.cache, x_.d), stride = plan_.d_padded;
    if (decoded.late)
      for (uint32_t row = 0; row < rows; row++) scale_probabilities(scores(row, first), count);
    float *part = scratch_ + plan_.part(), *out = ends ? sums(0) : part;
    const auto dot = [&](uint32_t row, uint32_t key, uint32_t keys) {
      const size_t at = size_t{row} * stride;
      return Dot{scores(row, key),
                 plan_.keys_padded,
                 tile() + size_t{key - first} * columns,
                 columns,
                 keys,
                 out + at,
                 stride,
                 ends,
                 nullptr,
                 begun ? part + at : nullptr};
    };
    if (decoded.finite) return dot_columns(is_weighing_fused(), dot(0, first, count), rows, columns);
    // 0 times Inf or NaN would leak from keys that a row must not see, so each row stops at its own.
    for (uint32_t row = 0; row < rows; row++) {
      const Visible keys = keys_.of_step[row / unit_.heads];
      const uint32_t from = min(max(keys.from, first), first + count), to = min(keys.to, first + count);
      dot_columns(is_weighing_fused(), dot(row, from, from < to ? to - from : 0), 1, columns);
    }
  }

  QUAVER_INLINE void scale_probabilities(float* p, uint32_t count) const {
    uint32_t i = 0;
    for (; count - i >= kLanes; i += kLanes) store(p + i, load<f32v>(p + i) * load<f32v>(factors() + i));
    for (; i < count; i++) p[i] = p[i] * factors()[i];
  }
};

}  // namespace

uint32_t attention_units(const Attention& x) { return AttentionPlan(x).units(x); }

size_t attention_scratch_bytes(const Attention& x) {
  const AttentionPlan plan(x);
  return (x.reduction == Reduction::fast ? fast_attention_floats(x, plan) : plan.total(x)) * sizeof(float);
}

void attention(const Attention& x, uint32_t unit0, uint32_t unit1, void* scratch) {
  const AttentionPlan plan(x);
  for (uint32_t i = unit0; i < unit1; i++) {
    if (x.reduction == Reduction::fast)
      fast_attention(x, plan, plan.unit(x, i), static_cast<float*>(scratch));
    else
      CanonicalAttention(x, plan, plan.unit(x, i), static_cast<float*>(scratch)).run();
  }
}

}  // namespace quaver::QUAVER_ISA
