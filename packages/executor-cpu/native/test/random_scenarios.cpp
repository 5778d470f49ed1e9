// Scenarios of every op, with sizes that fit no register, panel or block.
#include "scenario.h"

namespace quaver::test {
namespace {

using Result = Buffer::Result;
constexpr double kF32 = 0, kBf16 = 1, kE4m3 = 2, kE5m2 = 3;

Content content_of(double format) {
  return format == kF32 ? Content::f32 : format == kBf16 ? Content::bf16 : Content::bytes;
}
Result result_of(double format) { return format == kF32 ? Result::f32 : Result::bytes; }

/** Mostly small, sometimes past a multiple of 64. */
uint32_t side(Random& random, uint32_t most) {
  return random.one_in(3) ? random.from_to(1, most) : random.from_to(1, most < 24 ? most : 24);
}

Scenario gemm(Random& random) {
  Scenario s;
  const bool f32 = random.one_in(4);
  const double a_format = f32 ? kF32 : random.from_to(1, 3), w_format = f32 ? kF32 : random.from_to(1, 3);
  const bool tall = random.one_in(24);
  const uint32_t m = tall ? random.from_to(512, 522) : side(random, 40);
  const uint32_t n = tall ? random.from_to(1, 70) : side(random, 200), k = tall ? random.from_to(1, 9) : side(random, 300);
  s.name = "gemm " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " of formats " +
           std::to_string(int(a_format)) + ", " + std::to_string(int(w_format));
  const bool canonical = !random.one_in(6);
  const int a = s.add(content_of(a_format)), w = s.add(content_of(w_format));
  const int staged = s.add(Content::zeros), packed = s.add(Content::zeros);
  const int out = canonical ? s.f32_result() : s.add(Content::zeros);
  const bool columns = random.one_in(3);
  const double gap = random.one_in(3) ? random.from_to(1, 5) : 0;
  s.steps.push_back({"pack", {w, packed}, {w_format, double(n), double(k), columns ? 1 : k + gap, columns ? n + gap : 1}});
  s.steps.push_back(
      {"stage", {a, staged}, {a_format, double(m), double(k), columns ? 1 : k + gap, columns ? m + gap : 1, w_format}});
  constexpr uint32_t kBlocks[] = {4, 8, 32, 64, 128, 256};
  const uint32_t block_k = random.one_in(3) ? k : kBlocks[random.below(6)], blocks = (k + block_k - 1) / block_k;
  const uint32_t block_n = random.one_in(2) ? 1 : random.from_to(1, n);
  const int a_scales = random.one_in(4) ? -1 : s.add(Content::scales), w_scales = random.one_in(4) ? -1 : s.add(Content::scales);
  const bool shared = random.one_in(4), by_block = random.one_in(2);
  const double a_row = shared ? 0 : by_block ? 1 : blocks, a_block = by_block && !shared ? m : 1;
  const double w_row = by_block ? 1 : blocks, w_block = by_block ? (n + block_n - 1) / block_n : 1;
  s.steps.push_back({"gemm",
                     {staged, packed, out, a_scales, w_scales},
                     {canonical ? 0.0 : 1.0, a_format, w_format, double(m), double(n), double(k), n + gap, a_row, a_block,
                      w_row, w_block, double(block_n), double(block_k)}});
  const int again = s.add(Content::zeros, result_of(w_format)), rows = s.add(Content::zeros, result_of(w_format));
  const int indices = s.integers(0, static_cast<int32_t>(n) - 1);
  s.steps.push_back({"unpack", {packed, again}, {w_format, double(n), double(k)}});
  s.steps.push_back({"gather_packed", {packed, indices, rows}, {1, 7, double(n), double(k), w_format}});
  return s;
}

Scenario attention(Random& random) {
  Scenario s;
  const double cache = random.below(3), probs = cache == kF32 ? kF32 : random.from_to(1, 2);
  const bool canonical = !random.one_in(6);
  const bool paged = random.one_in(2);
  constexpr uint32_t kPageTokens[] = {1, 5, 16, 32, 64, 128};
  const uint32_t page_tokens = paged ? kPageTokens[random.below(6)] : 0, page_count = paged ? random.from_to(1, 20) : 0;
  const uint32_t wanted = side(random, 300), keys = paged ? (wanted + page_tokens - 1) / page_tokens * page_tokens : wanted;
  const uint32_t b = random.from_to(1, 3), t = side(random, 70), kv_heads = random.from_to(1, 3);
  const uint32_t q_heads = kv_heads * random.from_to(1, 4), d = side(random, 80);
  const uint32_t window = random.one_in(2) ? 0 : random.from_to(1, keys);
  s.name = "attention " + std::to_string(t) + " queries, " + std::to_string(keys) + " keys of " + std::to_string(d) +
           ", cache " + std::to_string(int(cache)) + ", probabilities " + std::to_string(int(probs)) +
           ", pages of " + std::to_string(page_tokens);
  const int q = s.add(cache == kF32 ? Content::f32 : Content::bf16), k = s.add(content_of(cache)), v = s.add(content_of(cache));
  const bool f8 = cache == kE4m3;
  const int k_scales = f8 ? s.add(Content::e8m0) : -1, v_scales = f8 ? s.add(Content::e8m0) : -1;
  const int start = s.integers(-3, static_cast<int32_t>(keys) + 3);
  const int out = canonical ? s.f32_result() : s.add(Content::zeros);
  const int first_key = random.one_in(2) ? -1 : s.integers(-3, static_cast<int32_t>(keys) + 3);
  const int pages = paged ? s.integers(-2, static_cast<int32_t>(page_count) + 1) : -1;
  s.steps.push_back({"attention",
                     {q, k, v, k_scales, v_scales, start, out, first_key, pages},
                     {canonical ? 0.0 : 1.0, cache, probs, double(b), double(t), double(keys), double(q_heads),
                      double(kv_heads), double(d), double(window), 0.125, double(page_count), double(page_tokens)}});
  return s;
}

Scenario batches(Random& random) {
  Scenario s;
  const bool f32 = random.one_in(2);
  const double a_format = f32 ? kF32 : random.from_to(1, 3), w_format = f32 ? kF32 : random.from_to(1, 3);
  const double b0 = random.from_to(1, 3), b1 = random.from_to(1, 3);
  const double m = side(random, 40), n = side(random, 150), k = side(random, 200);
  s.name = "batches of " + std::to_string(int(m)) + "x" + std::to_string(int(n)) + "x" + std::to_string(int(k)) +
           " of formats " + std::to_string(int(a_format)) + ", " + std::to_string(int(w_format));
  const int a = s.add(content_of(a_format)), w = s.add(content_of(w_format));
  // [b0, m, b1, k] with [b0, b1, k, n].
  s.steps.push_back({"batch_dot",
                     {a, w, s.f32_result()},
                     {0, a_format, w_format, b0, b1, m, n, k, m * b1 * k, k, b1 * k, 1, b1 * k * n, k * n, 1, n}});
  return s;
}

Scenario attention_grad(Random& random) {
  Scenario s;
  const double cache = random.below(3), probs = cache == kF32 ? kF32 : random.from_to(1, 2);
  const uint32_t b = random.from_to(1, 2), t = side(random, 70), keys = side(random, 200), kv_heads = random.from_to(1, 3);
  const uint32_t q_heads = kv_heads * random.from_to(1, 4), d = random.one_in(9) ? side(random, 300) : side(random, 80);
  const uint32_t window = random.one_in(2) ? 0 : random.from_to(1, keys);
  s.name = "gradient of attention, " + std::to_string(t) + " queries, " + std::to_string(keys) + " keys of " +
           std::to_string(d) + ", cache " + std::to_string(int(cache)) + ", probabilities " + std::to_string(int(probs));
  const int q = s.add(cache == kF32 ? Content::f32 : Content::bf16), k = s.add(content_of(cache)), v = s.add(content_of(cache));
  const int k_scales = cache == kE4m3 ? s.add(Content::e8m0) : -1, v_scales = cache == kE4m3 ? s.add(Content::e8m0) : -1;
  const int start = s.integers(-3, static_cast<int32_t>(keys) + 3), dy = s.add(Content::f32);
  const int first_key = random.one_in(2) ? -1 : s.integers(-3, static_cast<int32_t>(keys) + 3);
  s.steps.push_back({"attention_grad",
                     {q, k, v, k_scales, v_scales, start, dy, s.f32_result(), s.f32_result(), s.f32_result(), first_key},
                     {0, cache, probs, double(b), double(t), double(keys), double(q_heads), double(kv_heads), double(d),
                      double(window), 0.125}});
  return s;
}

/** Norms and softmaxes, each on its own rows. */
Scenario rows(Random& random) {
  Scenario s;
  const double n = side(random, 400), count = random.from_to(1, 9), fast = random.one_in(6);
  s.name = "rows of " + std::to_string(int(n)) + (fast != 0 ? ", fast" : "");
  const int x = s.add(Content::f32), weight = s.add(Content::f32);
  const auto out = [&] { return fast != 0 ? s.add(Content::zeros) : s.f32_result(); };
  s.steps.push_back({"rms_norm", {x, weight, out()}, {fast, count, n, 1e-5}});
  s.steps.push_back({"softmax", {x, out()}, {fast, count, n}});
  s.steps.push_back({"log_softmax", {x, out()}, {fast, count, n}});
  const int targets = s.integers(0, static_cast<int32_t>(n) - 1);
  s.steps.push_back({"log_softmax_gather", {x, targets, out()}, {fast, count, n}});
  return s;
}

Scenario quantization(Random& random) {
  Scenario s;
  const double format = random.from_to(2, 3), count = random.from_to(1, 9), k = side(random, 300);
  const double block = random.one_in(2) ? random.from_to(1, static_cast<uint32_t>(k) + 3) : 32;
  const double block_rows = random.from_to(1, 4), stride = __builtin_ceil(k / block) + random.below(3);
  s.name = "quantization of " + std::to_string(int(count)) + "x" + std::to_string(int(k)) + " by " + std::to_string(int(block));
  const int x = s.add(Content::f32), codes = s.add(Content::bytes), scales = s.add(Content::scales);
  s.steps.push_back(
      {"quantize_rows", {x, s.bytes_result(), s.f32_result()}, {format, count, k, block, double(random.below(2))}});
  s.steps.push_back({"quantize_rows_e8m0", {x, s.bytes_result(), s.bytes_result()}, {format, count, k, block}});
  s.steps.push_back({"quantize_by",
                     {x, scales, s.bytes_result()},
                     {format, count, k, stride, block_rows, block, double(random.below(2))}});
  const double wide_block = random.one_in(2) ? random.from_to(1, 20) : block;
  s.steps.push_back({"amax_by", {x, s.f32_result()}, {count, k, block_rows, wide_block}});
  s.steps.push_back({"compute_scale", {x, s.f32_result()}, {k, 448, double(random.below(3)), 0}});
  s.steps.push_back({"compute_scale", {x, s.bytes_result()}, {k, 57344, double(random.from_to(1, 2)), 1}});
  s.steps.push_back({"dequantize_by", {codes, scales, s.f32_result()}, {format, count, k, stride, block_rows, block}});
  return s;
}

Scenario elements(Random& random) {
  Scenario s;
  const double n = side(random, 200), count = random.from_to(1, 9), format = random.from_to(1, 3);
  s.name = "elements, " + std::to_string(int(count)) + "x" + std::to_string(int(n));
  const int x = s.add(Content::f32), y = s.add(Content::f32), codes = s.add(content_of(format)), e8m0 = s.add(Content::bytes);
  for (double op = 0; op < 6; op++) s.steps.push_back({"unary", {x, s.f32_result()}, {op, count, n}});
  for (double op = 0; op < 7; op++) s.steps.push_back({"binary", {x, y, s.f32_result()}, {op, count, n}});
  s.steps.push_back({"add_row", {x, y, s.f32_result()}, {count, n}});
  s.steps.push_back({"encode", {x, s.bytes_result()}, {format, count, n, double(random.below(2))}});
  s.steps.push_back({"decode", {codes, s.f32_result()}, {format, count, n}});
  s.steps.push_back({"decode_e8m0", {e8m0, s.f32_result()}, {n}});
  return s;
}

Scenario positions(Random& random) {
  Scenario s;
  const double b = random.from_to(1, 3), t = random.from_to(1, 9), heads = random.from_to(1, 4), d = side(random, 80);
  const double rotated = 2 * random.from_to(0, static_cast<uint32_t>(d) / 2), length = t + random.below(9);
  s.name = "rope of " + std::to_string(int(d));
  const int x = s.add(Content::f32), cos = s.add(Content::f32), sin = s.add(Content::f32);
  const int start = s.integers(0, static_cast<int32_t>(length - t));
  s.steps.push_back({"rope", {x, cos, sin, start, s.f32_result()}, {b, t, heads, d, rotated, length, 0}});
  s.steps.push_back({"rope", {x, cos, sin, start, s.f32_result()}, {b, t, heads, d, rotated, length, 1}});
  return s;
}

Scenario moves(Random& random) {
  Scenario s;
  const double row = random.from_to(1, 70), batches = random.from_to(1, 3), bound = random.from_to(1, 9);
  const double count = random.from_to(1, 9);
  s.name = "rows of " + std::to_string(int(row)) + " bytes on the move";
  const int table = s.add(Content::bytes), indices = s.integers(0, static_cast<int32_t>(bound) - 1);
  const int start = s.integers(-4, static_cast<int32_t>(bound) + 2), state = s.add(Content::bytes, Result::bytes);
  s.steps.push_back({"copy", {table, s.bytes_result()}, {count, row}});
  constexpr double kElements[] = {1, 2, 4};
  const double element = kElements[random.below(3)];
  s.steps.push_back({"fill", {s.bytes_result()}, {count, row, element, double(random.below(256))}});
  s.steps.push_back({"gather", {table, indices, s.bytes_result()}, {batches, count, bound, row}});
  s.steps.push_back({"update_slice", {table, table, start, s.bytes_result()}, {batches, bound, count, row}});
  s.steps.push_back({"update_slice", {state, table, start, state}, {batches, bound, count, row}});
  const int pages = s.integers(-2, static_cast<int32_t>(bound) + 1);
  const double slots = random.from_to(1, 20), columns = random.from_to(0, 3);
  s.steps.push_back({"update_pages", {table, table, pages, start, s.bytes_result()}, {bound, slots, batches, count, columns, row}});
  s.steps.push_back({"update_pages", {state, table, pages, start, state}, {bound, slots, batches, count, columns, row}});
  // A transposition of [2, 3, 4, 5] with gaps.
  s.steps.push_back({"strided_copy",
                     {table, s.bytes_result()},
                     {element, 2, 3, 1, 1, 4, 5, 100, 30, 0, 0, 6, 1, 1, 2, 0, 0, 7, 29, double(random.below(3)), double(random.below(3))}});
  return s;
}

Scenario reductions(Random& random) {
  Scenario s;
  const double outer = random.from_to(1, 5), length = random.from_to(0, 40), inner = random.from_to(1, 2) == 1 ? 1 : side(random, 600);
  s.name = "reductions of " + std::to_string(int(length)) + " with " + std::to_string(int(inner)) + " beside";
  const int x = s.add(Content::f32), other = s.add(Content::f32), mask = s.add(Content::bytes);
  s.steps.push_back({"reduce", {x, s.f32_result()}, {double(random.below(3)), outer, length, inner}});
  s.steps.push_back({"compare", {x, other, s.bytes_result()}, {double(random.below(6)), double(random.below(2)), outer, inner}});
  constexpr double kElements[] = {1, 2, 4};
  const double element = kElements[random.below(3)];
  s.steps.push_back({"select", {mask, mask, mask, s.bytes_result()}, {element, outer, inner}});
  const int numbers = s.integers(-9, 9), divisors = s.integers(-1, 3);
  s.steps.push_back({"integer", {numbers, divisors, s.bytes_result()}, {double(random.below(6)), outer, inner}});
  s.steps.push_back({"logical", {mask, numbers, s.bytes_result()}, {double(random.below(3)), outer, inner}});
  s.steps.push_back({"iota", {s.bytes_result()}, {double(random.below(2)), outer, random.from_to(1, 9) + 0.0, inner}});
  return s;
}

Scenario training(Random& random) {
  Scenario s;
  const double n = side(random, 200), count = random.from_to(1, 9), bound = random.from_to(1, 9);
  s.name = "training, " + std::to_string(int(count)) + "x" + std::to_string(int(n));
  const int table = s.add(Content::f32), indices = s.integers(0, static_cast<int32_t>(bound) - 1), x = s.add(Content::f32);
  s.steps.push_back({"scatter_add", {table, indices, x, s.f32_result()}, {bound, count, n}});
  s.steps.push_back({"swiglu_grad", {x, table, x, s.f32_result(), s.f32_result()}, {count, n}});
  const int targets = s.integers(-1, static_cast<int32_t>(n)), slopes = s.add(Content::f32);
  s.steps.push_back({"log_softmax_gather_grad", {x, targets, slopes, s.f32_result()}, {count, n}});
  const double rows = random.one_in(2) ? count : random.from_to(60, 140);
  s.steps.push_back({"rms_norm_grad", {x, table, slopes, s.f32_result(), s.f32_result()}, {rows, n, 1e-5}});
  s.steps.push_back({"sum_blocks", {x, s.f32_result()}, {count, n}});
  const int gradient = s.add(Content::f32), m = s.add(Content::f32), v = s.add(Content::scales), one = s.add(Content::scales);
  s.steps.push_back({"adamw",
                     {x, gradient, m, v, one, one, one, s.f32_result(), s.f32_result(), s.f32_result()},
                     {count, n, 0.9, 0.1, 0.95, 0.05, 1e-8, 0.1}});
  return s;
}

}  // namespace

std::vector<Scenario> random_scenarios(Random& random) {
  return {gemm(random),     gemm(random),      batches(random), attention(random), attention_grad(random), rows(random), quantization(random),
          elements(random), positions(random), moves(random),   training(random),  reductions(random)};
}

}  // namespace quaver::test
