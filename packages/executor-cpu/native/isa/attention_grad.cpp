// The gradient of attention, in its canonical order (see the op attention_grad).
//
// A unit is one KV head of one sequence. Its keys and values are decoded once; then kGradRows query rows at a time go
// through all keys that they see: scores and probabilities as in attention, what the loss changes by with them, and with
// those the three products. Scores of more rows are never held. The sums of dk and dv take in one block of rows after
// the other.
#include "attention_grad.h"

#include "attention_plan.h"
#include "attention_probabilities.h"
#include "reduce.h"

namespace quaver::QUAVER_ISA {
namespace {

/** Where a unit keeps what in scratch, in floats. */
struct GradPlan {
  /** A count of elements beyond memory is refused before anything runs: sums of these are wide, they themselves fit. */
  size_t depth, keys, row_stride;

  QUAVER_INLINE explicit GradPlan(const Attention& x)
      : depth(round_up(x.d, kLanes)),
        keys(round_up(x.s, kKeyStep)),
        // No power of two: rows are also read across.
        row_stride(keys + 16) {}

  /** A padded row for each key, and tiles[keys / kDotWidth][depth][kDotWidth]. */
  QUAVER_INLINE uint64_t per_key() const { return uint64_t{keys} * depth; }
  QUAVER_INLINE uint64_t per_row() const { return uint64_t{kGradRows} * depth; }
  QUAVER_INLINE uint64_t per_scores() const { return uint64_t{kGradRows} * row_stride; }
  QUAVER_INLINE uint64_t key_rows() const { return 0; }
  QUAVER_INLINE uint64_t key_tiles() const { return per_key(); }
  QUAVER_INLINE uint64_t value_tiles() const { return 2 * per_key(); }
  QUAVER_INLINE uint64_t dk() const { return 3 * per_key(); }
  QUAVER_INLINE uint64_t dv() const { return 4 * per_key(); }
  QUAVER_INLINE uint64_t queries() const { return 5 * per_key(); }
  QUAVER_INLINE uint64_t dy() const { return queries() + per_row(); }
  QUAVER_INLINE uint64_t dq() const { return dy() + per_row(); }
  QUAVER_INLINE uint64_t weights() const { return dq() + per_row(); }
  QUAVER_INLINE uint64_t slopes() const { return weights() + per_scores(); }
  QUAVER_INLINE uint64_t total() const { return slopes() + per_scores(); }
};

/** A number as the operand of a product of bf16. */
QUAVER_INLINE f32v to_bf16_operand(f32v x) { return flush_bf16_operand(round_to_bf16(x)); }

class AttentionGradient {
 public:
  AttentionGradient(const AttentionGrad& x, const GradPlan& plan, uint32_t unit, float* scratch)
      : x_(x),
        f_(x.forward),
        plan_(plan),
        group_(f_.q_heads / f_.kv_heads),
        batch_(unit / f_.kv_heads),
        kv_head_(unit % f_.kv_heads),
        start_(__atomic_load_n(f_.start + batch_, __ATOMIC_RELAXED)),
        scratch_(scratch) {}

  void run() {
    const AttentionUnit all = tokens_of(0, 1);
    const auto whole = [&](const void* cache, const uint8_t* scales) {
      return UnitCache(f_, all, cache, scales, 0, nullptr).tile(0, f_.s);
    };
    decode(whole(f_.k, f_.k_scales), at(plan_.key_tiles()), at(plan_.key_rows()));
    decode(whole(f_.v, f_.v_scales), at(plan_.value_tiles()), nullptr);
    __builtin_memset(at(plan_.dk()), 0, static_cast<size_t>(2 * plan_.per_key() * sizeof(float)));
    const uint32_t rows = f_.t * group_;
    for (uint32_t row = 0; row < rows; row += kGradRows) visit(row, min(kGradRows, rows - row));
    for (uint32_t key = 0; key < f_.s; key++) {
      const size_t out = ((size_t{batch_} * f_.s + key) * f_.kv_heads + kv_head_) * f_.d;
      __builtin_memcpy(x_.dk + out, at(plan_.dk()) + key * plan_.depth, f_.d * sizeof(float));
      __builtin_memcpy(x_.dv + out, at(plan_.dv()) + key * plan_.depth, f_.d * sizeof(float));
    }
  }

 private:
  const AttentionGrad& x_;
  const Attention& f_;
  const GradPlan& plan_;
  const uint32_t group_, batch_, kv_head_;
  const int32_t start_;
  float* const scratch_;

  float* at(uint64_t offset) const { return scratch_ + static_cast<size_t>(offset); }
  bool is_exact() const { return f_.cache != Format::f32; }

  AttentionUnit tokens_of(uint32_t first, uint32_t steps) const {
    return {batch_, kv_head_, kv_head_ * group_, group_, first, steps, start_};
  }

  // Operands.

  /** All keys or values into tiles, and into rows where they are wanted; zeros behind them. */
  void decode(const CacheView& cache, float* tiles, float* rows) const {
    const size_t depth = plan_.depth;
    alignas(64) float one[kPromote];
    const uint32_t last = f_.s / kDotWidth * kDotWidth;
    __builtin_memset(tiles + last * depth, 0, (plan_.keys - last) * depth * sizeof(float));
    for (uint32_t key = 0; key < f_.s; key++) {
      float* tile = tiles + key / kDotWidth * kDotWidth * depth + key % kDotWidth;
      if (rows) __builtin_memset(rows + key * depth, 0, depth * sizeof(float));
      for (uint32_t d = 0; d < f_.d; d += kPromote) {
        const uint32_t count = min(kPromote, f_.d - d);
        decode_part(cache, key, d, count, one);
        for (uint32_t i = 0; i < count; i++) tile[(d + i) * kDotWidth] = one[i];
        if (rows) __builtin_memcpy(rows + key * depth + d, one, count * sizeof(float));
      }
    }
  }

  /** Elements [d, d + count) of a key or value as dot operands. */
  void decode_part(const CacheView& cache, uint32_t key, uint32_t d, uint32_t count, float* out) const {
    const uint8_t* row = cache.rows + size_t{key} * cache.row_stride;
    const auto put = [&](size_t i, f32v value, uint32_t n) { store_first(out + i, value, n); };
    if (cache.format == Format::f32) return void(__builtin_memcpy(out, row + d * sizeof(float), count * sizeof(float)));
    if (cache.format == Format::bf16)
      return for_each_vector<Format::bf16>(row + d * 2, count, [&](size_t i, f32v value, uint32_t n) {
        put(i, flush_bf16_operand(value), n);
      });
    const f32v scale = splat(e8m0_value(cache.scales[size_t{key} * cache.scale_stride]));
    for_each_vector<Format::f8e4m3fn>(row + d, count, [&](size_t i, f32v value, uint32_t n) {
      put(i, to_bf16_operand(value * scale), n);
    });
  }

  /** Where a query row lies in q, dy and dq. */
  size_t element(uint32_t row) const {
    const size_t token = size_t{batch_} * f_.t + row / group_;
    return (token * f_.q_heads + kv_head_ * group_ + row % group_) * f_.d;
  }

  void load_rows(uint32_t first, uint32_t rows) const {
    __builtin_memset(at(plan_.queries()), 0, static_cast<size_t>(2 * plan_.per_row() * sizeof(float)));
    for (uint32_t row = 0; row < rows; row++) {
      const size_t from = element(first + row);
      float *q = at(plan_.queries()) + row * plan_.depth, *dy = at(plan_.dy()) + row * plan_.depth;
      if (!is_exact()) {
        __builtin_memcpy(q, static_cast<const float*>(f_.q) + from, f_.d * sizeof(float));
        __builtin_memcpy(dy, x_.dy + from, f_.d * sizeof(float));
        continue;
      }
      for_each_vector<Format::bf16>(
          static_cast<const uint16_t*>(f_.q) + from, f_.d,
          [&](size_t i, f32v value, uint32_t count) { store_first(q + i, flush_bf16_operand(value), count); });
      for_each_vector<Format::f32>(x_.dy + from, f_.d, [&](size_t i, f32v value, uint32_t count) {
        store_first(dy + i, to_bf16_operand(value), count);
      });
    }
  }

  // A block of query rows.

  void visit(uint32_t first, uint32_t rows) {
    const uint32_t token = first / group_;
    const UnitKeys keys(f_, tokens_of(token, (first + rows - 1) / group_ - token + 1));
    __builtin_memset(at(plan_.dq()), 0, static_cast<size_t>(plan_.per_row() * sizeof(float)));
    if (keys.from < keys.to) {
      // Whole sets of the 16 partials of a row.
      const uint32_t from = keys.from / 16 * 16;
      load_rows(first, rows);
      dot_with_tiles(rows, from, keys.to, at(plan_.queries()), at(plan_.key_tiles()), at(plan_.weights()), true);
      dot_with_tiles(rows, from, keys.to, at(plan_.dy()), at(plan_.value_tiles()), at(plan_.slopes()), false);
      for (uint32_t row = 0; row < rows; row++)
        differentiate(keys.of_step[(first + row) / group_ - token], from, keys.to, row);
      add_products(rows, from, keys.to);
    }
    for (uint32_t row = 0; row < rows; row++)
      __builtin_memcpy(x_.dq + element(first + row), at(plan_.dq()) + row * plan_.depth, f_.d * sizeof(float));
  }

  /** out[row][key] = a[row] · tile of the key, times the scale of attention where `scaled`. */
  void dot_with_tiles(uint32_t rows, uint32_t from, uint32_t to, const float* a, const float* tiles, float* out,
                      bool scaled) const {
    alignas(64) float factors[kDotWidth];
    for (float& factor : factors) factor = f_.scale;
    for (uint32_t key = from / kDotWidth * kDotWidth; key < to; key += kDotWidth)
      for (uint32_t d = 0; d < f_.d; d += kPromote) {
        const bool is_last = f_.d - d <= kPromote;
        dot_columns(is_exact(),
                    {a + d, plan_.depth, tiles + key * plan_.depth + size_t{d} * kDotWidth, kDotWidth,
                     min(kPromote, f_.d - d), out + key, plan_.row_stride, d > 0, is_last && scaled ? factors : nullptr,
                     nullptr},
                    rows, kDotWidth);
      }
  }

  /** Scores and dP of one row into rounded probabilities and dS; both are 0 for keys of [from, to) that it does not see. */
  void differentiate(const Visible& keys, uint32_t from, uint32_t to, uint32_t row) const {
    float *weights = at(plan_.weights()) + row * plan_.row_stride, *slopes = at(plan_.slopes()) + row * plan_.row_stride;
    const bool sees = keys.from < keys.to;
    const uint32_t first = sees ? keys.from / 16 * 16 : to, end = sees ? round_up(keys.to, 16) : to;
    clear(weights, slopes, from, first);
    if (end < to) clear(weights, slopes, end, to);
    if (!sees) return;
    float *p = weights + first, *slope = slopes + first;
    const uint32_t count = end - first;
    for (uint32_t i = 0; i < keys.from - first; i++) p[i] = -kInfinity;
    for (uint32_t i = keys.to - first; i < count; i++) p[i] = -kInfinity, slope[i] = 0;
    const f32v total =
        splat(sum_of_exp(p, row_max(p, count), count, [&](uint32_t i, f32v e, uint32_t) { store(p + i, e); }));
    const f32v mean = splat(canonical_sum(count, [&](uint32_t i, uint32_t) __attribute__((always_inline)) {
      const f32v weight = load<f32v>(p + i) / total;
      store(p + i, weight);
      return weight * load<f32v>(slope + i);
    }));
    const f32v scale = splat(f_.scale);
    for (uint32_t i = 0; i < count; i += kLanes) {
      const f32v weight = load<f32v>(p + i);
      const f32v exact = weight * (load<f32v>(slope + i) - mean) * scale;
      store(slope + i, is_exact() ? to_bf16_operand(exact) : exact);
      store(p + i, rounded(weight));
    }
  }

  QUAVER_INLINE f32v rounded(f32v weight) const {
    if (f_.probs == Format::f32) return weight;
    if (f_.probs == Format::bf16) return to_bf16_operand(weight);
    return select(weight == weight, round_probability_to_f8(weight), weight);
  }

  static void clear(float* a, float* b, uint32_t from, uint32_t to) {
    __builtin_memset(a + from, 0, (to - from) * sizeof(float));
    __builtin_memset(b + from, 0, (to - from) * sizeof(float));
  }

  /** dq, a fresh accumulator for every 128 key positions; and what this block of rows adds to dk and dv. */
  void add_products(uint32_t rows, uint32_t from, uint32_t to) const {
    const size_t depth = plan_.depth, stride = plan_.row_stride;
    const uint32_t columns = static_cast<uint32_t>(depth);
    const float *weights = at(plan_.weights()), *slopes = at(plan_.slopes());
    for (uint32_t key = from, next; key < to; key = next) {
      next = min(to, (key / kPromote + 1) * kPromote);
      dot_columns(is_exact(),
                  {slopes + key, stride, at(plan_.key_rows()) + key * depth, depth, next - key, at(plan_.dq()), depth,
                   true, nullptr, nullptr},
                  rows, columns);
    }
    const auto add = [&](const float* a, uint64_t b, uint64_t out) {
      dot_columns_of_transposed(
          is_exact(),
          {a + from, stride, at(b), depth, rows, at(out) + from * depth, depth, true, nullptr, nullptr}, to - from,
          columns);
    };
    add(slopes, plan_.queries(), plan_.dk());
    add(weights, plan_.dy(), plan_.dv());
  }
};

}  // namespace

uint32_t attention_grad_units(const AttentionGrad& x) { return x.forward.b * x.forward.kv_heads; }

uint64_t attention_grad_scratch_bytes(const AttentionGrad& x) { return GradPlan(x.forward).total() * sizeof(float); }

void attention_grad(const AttentionGrad& x, uint32_t unit0, uint32_t unit1, void* scratch) {
  const GradPlan plan(x.forward);
  for (uint32_t unit = unit0; unit < unit1; unit++)
    AttentionGradient(x, plan, unit, static_cast<float*>(scratch)).run();
}

}  // namespace quaver::QUAVER_ISA
