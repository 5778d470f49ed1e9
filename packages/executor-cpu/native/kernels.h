// The contract between the kernels, which are compiled once for every instruction set, and the program that calls them.
//
// A kernel computes a range of independent units of work (rows, panels of outputs, query blocks). Which thread computes
// which range never changes a bit: every output element is computed by one thread, in the canonical order. Kernels keep
// no state, allocate nothing, use no C++ library, and trust their arguments: the program has checked them.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace quaver {

/** Number formats of tensors. */
enum class Format : uint32_t { f32 = 0, bf16 = 1, f8e4m3fn = 2, f8e5m2 = 3 };
constexpr uint32_t kFormats = 4;

// Always inlined, because the linker would keep one of the copies that the instruction sets bring.
__attribute__((always_inline)) constexpr uint32_t bytes_of(Format format) {
  return format == Format::f32 ? 4 : format == Format::bf16 ? 2 : 1;
}

/** k-elements after which a dot product starts a fresh accumulator. */
constexpr uint32_t kPromote = 128;

/** Rows after which sums over rows start a fresh accumulator: gradients of keys, values and the weights of norms. */
constexpr uint32_t kGradRows = 64;

/** Whether sums keep the canonical order. `fast` is what other engines do: it exists to measure what sameness costs. */
enum class Reduction : uint32_t { canonical = 0, fast = 1 };

enum class Rounding : uint32_t { none = 0, pow2_up = 1 };

/** A matrix x[rows, columns] whose element (r, c) is data[r · row_stride + c · column_stride]; strides in elements. */
struct Matrix {
  Format format;
  const void* data;
  uint32_t rows, columns;
  size_t row_stride, column_stride;
};

/** out[m, n] = Σ_k a[m, k] · w[n, k], from staged activations and packed weights. */
struct Gemm {
  Reduction reduction;
  Format a_format, w_format;
  /** a[m, k] as `stage_activations` wrote it. */
  const void* staged;
  /** w[n, k] as `pack_weights` wrote it. */
  const void* packed;
  float* out;
  /** Elements between rows of `out`. */
  size_t out_stride;
  uint32_t m, n, k;
  /** Scale of a(row, k): a_scales[row · a_row_stride + k / block_k · a_block_stride]; null: no scales on this side. */
  const float* a_scales;
  size_t a_row_stride, a_block_stride;
  /** Scale of w(n, k): w_scales[n / block_n · w_row_stride + k / block_k · w_block_stride]; null: no scales. */
  const float* w_scales;
  size_t w_row_stride, w_block_stride;
  uint32_t block_n;
  /** k-elements that share a scale: a multiple of 128, a divisor of 128 that is a multiple of 4, or at least k. */
  uint32_t block_k;
};

/** softmax(q · kᵀ · scale) · v over a KV cache. */
struct Attention {
  Reduction reduction;
  /** f32: q, k, v f32. bf16: all bf16. f8e4m3fn: q bf16, k and v codes with one E8M0 scale per token and head. */
  Format cache;
  /** Precision of the probabilities in the second product; f8e4m3fn has the fixed scale 2^-8. */
  Format probs;
  /** [b, t, q_heads, d]. */
  const void* q;
  /** [b, s, kv_heads, d], or with pages [page_count, page_tokens, kv_heads, d]. */
  const void *k, *v;
  /** E8M0, one for each token and head of k and v. */
  const uint8_t *k_scales, *v_scales;
  /** i32[b]: position of the first query of each sequence. */
  const int32_t* start;
  /** i32[b, t]: the first key that each query may see, at most its own; null: key 0. */
  const int32_t* first_key;
  /** i32[b, s / page_tokens]: the pages of each sequence, zeros where out of range; null: k and v are in one piece. */
  const int32_t* pages;
  uint32_t page_count, page_tokens;
  /** f32 [b, t, q_heads, d]. */
  float* out;
  uint32_t b, t, s, q_heads, kv_heads, d;
  /** Keys that a query sees, itself included; 0 means all before it. */
  uint32_t window;
  float scale;
};

/** What the loss changes by with q, k and v. */
struct AttentionGrad {
  /** `out` is not used; `probs` is f32 where the cache is. */
  Attention forward;
  /** f32 [b, t, q_heads, d]: what it changes by with the output. */
  const float* dy;
  /** f32 [b, t, q_heads, d]. */
  float* dq;
  /** f32 [b, s, kv_heads, d]. */
  float *dk, *dv;
};

enum class Unary : uint32_t { negate, abs, exp, log, sqrt, silu };
enum class Binary : uint32_t { add, subtract, multiply, divide, maximum, minimum, swiglu };

/** A step of AdamW on f32 tensors; outputs may be the inputs. `rate` and the corrections point to one number each. */
struct AdamW {
  const float *parameter, *gradient, *m, *v;
  const float *rate, *correction1, *correction2;
  float *parameter_out, *m_out, *v_out;
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay;
};

/** All kernels of one instruction set. Offsets of f32 are 4-aligned, of bf16 2-aligned, scratch and packed 64-aligned. */
struct Kernels {
  const char* isa;

  // Matrix products.

  /** Outputs of one packed panel. */
  uint32_t panel;
  size_t (*packed_bytes)(Format, uint32_t n, uint32_t k);
  /** Packs the panels [panel0, panel1) of w[n, k] (a Matrix of n rows and k columns). */
  void (*pack_weights)(const Matrix& w, void* packed, uint32_t panel0, uint32_t panel1);
  /** Writes row `row` of w[n, k], k elements in its own format, out of the packed form: what packing put in, but for
   * bf16 magnitudes below 2^-56, which are +0. */
  void (*unpack_row)(Format, const void* packed, uint32_t n, uint32_t k, uint32_t row, void* out);
  size_t (*staged_bytes)(Format a, Format w, uint32_t m, uint32_t k);
  /** Brings the rows [row0, row1) of a[m, k] into the form that products with weights of format `w` read. */
  void (*stage_activations)(const Matrix& a, Format w, void* staged, uint32_t row0, uint32_t row1);
  /** Rows that go through a panel together: blocks of nearly equal size, multiples of six. */
  uint32_t (*gemm_row_block)(const Gemm&);
  /** Bytes of scratch of one thread. */
  size_t (*gemm_scratch_bytes)(const Gemm&);
  /** The outputs of rows [row0, row1), at most a block of them, and panels [panel0, panel1). */
  void (*gemm)(const Gemm&, uint32_t row0, uint32_t row1, uint32_t panel0, uint32_t panel1, void* scratch);

  // Attention: units are (sequence, group of query heads, block of queries).

  uint32_t (*attention_units)(const Attention&);
  size_t (*attention_scratch_bytes)(const Attention&);
  void (*attention)(const Attention&, uint32_t unit0, uint32_t unit1, void* scratch);

  // The gradient of attention: units are (sequence, KV head).

  uint32_t (*attention_grad_units)(const AttentionGrad&);
  /** Of one thread; may be more than there is memory. */
  uint64_t (*attention_grad_scratch_bytes)(const AttentionGrad&);
  void (*attention_grad)(const AttentionGrad&, uint32_t unit0, uint32_t unit1, void* scratch);

  // Rows of f32[rows, n]; x, weight and out point to row 0. `out` may be `x`.

  void (*rms_norm)(Reduction, const float* x, const float* weight, float* out, uint32_t n, float eps, uint32_t row0,
                   uint32_t row1);
  void (*softmax)(Reduction, const float* x, float* out, uint32_t n, uint32_t row0, uint32_t row1);
  void (*log_softmax)(Reduction, const float* x, float* out, uint32_t n, uint32_t row0, uint32_t row1);
  /** out[row] = log_softmax(x[row])[targets[row]]; targets are in range. */
  void (*log_softmax_gather)(Reduction, const float* x, const int32_t* targets, float* out, uint32_t n, uint32_t row0,
                             uint32_t row1);
  /** dx, and the sum of dy · x · r over every block of kGradRows rows in partials[block][n]. */
  void (*rms_norm_grad)(const float* x, const float* weight, const float* dy, float* dx, float* partials, uint32_t rows,
                        uint32_t n, float eps, uint32_t block0, uint32_t block1);
  /** dx[n] = ((1 at the target, else 0) − softmax(x)) · dy of one row; a target out of range is nowhere. */
  void (*log_softmax_gather_grad)(const float* x, int32_t target, float dy, float* dx, uint32_t n);
  /** x[rows, k] → codes[rows, k] and scales f32[rows, ceil(k / block)] by amax of each block, scale, saturating cast. */
  void (*quantize_rows)(Format, const float* x, uint8_t* codes, float* scales, uint32_t k, uint32_t block, Rounding,
                        uint32_t row0, uint32_t row1);
  /** The same with one E8M0 scale per block, rounded up to a power of two. */
  void (*quantize_rows_e8m0)(Format, const float* x, uint8_t* codes, uint8_t* scales, uint32_t k, uint32_t block,
                             uint32_t row0, uint32_t row1);
  /** codes = cast(x / scale) with given scales: element (r, c) uses scales[r / block_r · scale_stride + c / block_c]. */
  void (*quantize_by)(Format, const float* x, const float* scales, size_t scale_stride, uint32_t block_r,
                      uint32_t block_c, bool saturate, uint8_t* codes, uint32_t k, uint32_t row0, uint32_t row1);
  /** out = decode(codes) · scale, indexed as above. */
  void (*dequantize_by)(Format, const uint8_t* codes, const float* scales, size_t scale_stride, uint32_t block_r,
                        uint32_t block_c, float* out, uint32_t k, uint32_t row0, uint32_t row1);
  /** Largest magnitude of x[n]; NaN when any element is NaN. */
  float (*amax)(const float* x, size_t n);

  // Elements of f32[n].

  void (*unary)(Unary, const float* x, float* out, size_t n);
  void (*binary)(Binary, const float* a, const float* b, float* out, size_t n);
  /** Outputs may be inputs. */
  void (*swiglu_grad)(const float* gate, const float* up, const float* dy, float* dgate, float* dup, size_t n);
  /** Rotate-half rotary embedding of `h` heads of `d` elements of one token, on the first `rotated` elements of each;
   * cos, sin f32[rotated / 2] of its position. */
  void (*rope)(const float* x, const float* cos, const float* sin, float* out, uint32_t h, uint32_t d,
               uint32_t rotated);
  void (*adamw)(const AdamW&, size_t from, size_t to);
  /** Round to nearest even; `saturate` applies to FP8. */
  void (*encode)(Format, const float* x, void* codes, size_t n, bool saturate);
  void (*decode)(Format, const void* codes, float* out, size_t n);
};

// One function for each instruction set that this build has; null where it has none.
#define QUAVER_ISAS(X) X(avx512bf16) X(avx512) X(avx2) X(neon) X(portable) X(simd128)

}  // namespace quaver
