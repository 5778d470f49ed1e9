// Attention and its gradient.
#include "ops_attention.h"

namespace quaver {
namespace {

bool is_format(double number) { return number >= 0 && number < kFormats; }
Format format(const Call& call, uint32_t i) { return static_cast<Format>(call.u32(i)); }

// attention: 0 q, 1 k, 2 v, 3 k scales, 4 v scales, 5 start, 6 out, 7 first key, 8 pages | 0 reduction, 1 cache, 2 probs,
// 3 b, 4 t, 5 s, 6 q heads, 7 kv heads, 8 d, 9 window, 10 scale, and 0 without pages: 11 pages of the cache, 12 tokens of one.

Attention attention_of(const Call& call, uint32_t first_key) {
  Attention x{};
  x.reduction = static_cast<Reduction>(call.u32(0));
  x.cache = format(call, 1);
  x.probs = format(call, 2);
  x.q = call.pointers[0];
  x.k = call.pointers[1];
  x.v = call.pointers[2];
  x.k_scales = call.pointers[3];
  x.v_scales = call.pointers[4];
  x.start = call.at<const int32_t>(5);
  x.first_key = call.at<const int32_t>(first_key);
  x.b = call.u32(3);
  x.t = call.u32(4);
  x.s = call.u32(5);
  x.q_heads = call.u32(6);
  x.kv_heads = call.u32(7);
  x.d = call.u32(8);
  x.window = call.u32(9);
  x.scale = static_cast<float>(call.numbers[10]);
  return x;
}

Attention paged_attention_of(const Call& call) {
  Attention x = attention_of(call, 7);
  x.pages = call.at<const int32_t>(8);
  x.page_count = call.u32(11);
  x.page_tokens = call.u32(12);
  return x;
}

/** What is wrong with the operands, and how much they have. */
struct Sizes {
  const char* problem = nullptr;
  uint64_t queries = 0, keys = 0;
};

Sizes sizes_of(const Call& call, const Attention& x) {
  Sizes sizes;
  if (x.cache == Format::f8e5m2 || x.probs == Format::f8e5m2) sizes.problem = "E5M2 in attention";
  if (x.b == 0 || x.t == 0 || x.s == 0 || x.d == 0) sizes.problem = "an empty attention";
  if (x.kv_heads == 0 || x.q_heads == 0 || x.q_heads % x.kv_heads != 0) sizes.problem = "query heads that do not divide";
  const bool f8 = call.numbers[1] == double(Format::f8e4m3fn);
  if (f8 && (!x.k_scales || !x.v_scales)) sizes.problem = "an FP8 cache without scales";
  sizes.queries = product(x.b, x.t, x.q_heads, x.d);
  if (x.pages && (x.page_tokens == 0 || x.s % x.page_tokens != 0)) sizes.problem = "keys that do not fill their pages";
  sizes.keys = x.pages ? product(x.page_count, x.page_tokens, x.kv_heads) : product(x.b, x.s, x.kv_heads);
  // Positions within one tensor are counted in 32 bits in places; 2^31 elements are far beyond a cache.
  if (sizes.queries > INT32_MAX || product(sizes.keys, x.d) > INT32_MAX)
    sizes.problem = "an attention of more than 2^31 elements";
  if (!has_size(x.t, x.d) || !has_size(x.s, x.d)) sizes.problem = kTooLarge;
  return sizes;
}

bool names_formats(const Call& call) {
  return call.numbers[0] <= 1 && is_format(call.numbers[1]) && is_format(call.numbers[2]);
}

/** The operands that both have, and where the first keys are. */
void describe_operands(const Attention& x, const Sizes& sizes, uint32_t first_key, Work& work) {
  const bool f8 = x.cache == Format::f8e4m3fn;
  work.accesses[0] = reads_all(product(sizes.queries, x.cache == Format::f32 ? 4 : 2));
  work.accesses[1] = work.accesses[2] = reads_all(product(sizes.keys, x.d, bytes_of(x.cache)));
  if (f8) work.accesses[3] = work.accesses[4] = reads_all(sizes.keys);
  work.accesses[5] = reads_all(product(x.b, sizeof(int32_t)));
  if (x.first_key) work.accesses[first_key] = reads_all(product(x.b, x.t, sizeof(int32_t)));
}

const char* describe_attention(const Call& call, const Kernels& kernels, Work& work) {
  if (!names_formats(call)) return "an unknown format";
  const Attention x = paged_attention_of(call);
  const Sizes sizes = sizes_of(call, x);
  if (sizes.problem) return sizes.problem;
  work.units = kernels.attention_units(x);
  work.unit_cost = work.units == 0 ? 1 : double(sizes.queries) * x.s / work.units / 4;
  work.scratch_bytes = kernels.attention_scratch_bytes(x);
  describe_operands(x, sizes, 7, work);
  if (x.pages) work.accesses[8] = reads_all(product(x.b, x.s / x.page_tokens, sizeof(int32_t)));
  work.accesses[6] = writes_all(product(sizes.queries, sizeof(float)));
  return nullptr;
}

void run_attention(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void* scratch, Failure&) {
  Attention x = paged_attention_of(call);
  x.out = call.at<float>(6);
  kernels.attention(x, from, to, scratch);
}

// attention_grad: 0 … 5 as above, 6 dy, 7 dq, 8 dk, 9 dv, 10 first key | as above; only the canonical order.

AttentionGrad grad_of(const Call& call) {
  return {attention_of(call, 10), call.at<const float>(6), call.at<float>(7), call.at<float>(8), call.at<float>(9)};
}

const char* describe_attention_grad(const Call& call, const Kernels& kernels, Work& work) {
  if (!names_formats(call)) return "an unknown format";
  const AttentionGrad x = grad_of(call);
  const Attention& f = x.forward;
  const Sizes sizes = sizes_of(call, f);
  if (sizes.problem) return sizes.problem;
  if ((f.cache == Format::f32) != (f.probs == Format::f32)) return "probabilities of another precision than the cache";
  if (product(f.t, f.q_heads) > INT32_MAX) return kTooLarge;
  const uint64_t scratch = kernels.attention_grad_scratch_bytes(x);
  if (scratch > SIZE_MAX / 2) return kTooLarge;
  work.units = kernels.attention_grad_units(x);
  work.unit_cost = double(sizes.queries) * f.s / work.units * 0.625;
  work.scratch_bytes = static_cast<size_t>(scratch);
  describe_operands(f, sizes, 10, work);
  work.accesses[6] = reads_all(product(sizes.queries, sizeof(float)));
  work.accesses[7] = writes_all(product(sizes.queries, sizeof(float)));
  work.accesses[8] = work.accesses[9] = writes_all(product(sizes.keys, f.d, sizeof(float)));
  return nullptr;
}

void run_attention_grad(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void* scratch,
                        Failure&) {
  kernels.attention_grad(grad_of(call), from, to, scratch);
}

}  // namespace

const Op kAttentionGrad{"attention_grad", 11, 11, 1 << 3 | 1 << 4 | 1 << 10, 1 << 10, 0, describe_attention_grad,
                        run_attention_grad};
const Op kAttention{"attention", 9, 13, 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8, 1 << 10, 0, describe_attention,
                    run_attention};

}  // namespace quaver
