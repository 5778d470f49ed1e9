// Packing, staging, matrix products and attention.
#include "ops_matrix.h"

namespace quaver {
namespace {

bool is_format(double number) { return number >= 0 && number < kFormats; }
Format format(const Call& call, uint32_t i) { return static_cast<Format>(call.u32(i)); }

/** Bytes up to and with the last element of a strided matrix. */
uint64_t matrix_bytes(const Matrix& x) {
  if (x.rows == 0 || x.columns == 0) return 0;
  const uint64_t last = sum(product(x.rows - 1, x.row_stride), product(x.columns - 1, x.column_stride));
  return product(sum(last, 1), bytes_of(x.format));
}

// pack: 0 w, 1 packed | 0 format, 1 n, 2 k, 3 row stride, 4 column stride; a unit is a panel.

Matrix matrix_of(const Call& call, uint32_t format_at, uint32_t rows_at) {
  return {format(call, format_at),  call.pointers[0],          call.u32(rows_at),
          call.u32(rows_at + 1), call.size(rows_at + 2), call.size(rows_at + 3)};
}

const char* describe_pack(const Call& call, const Kernels& kernels, Work& work) {
  if (!is_format(call.numbers[0])) return "an unknown format";
  const Matrix w = matrix_of(call, 0, 1);
  if (!has_size(w.rows, w.columns)) return kTooLarge;
  work.units = static_cast<uint32_t>(ceil_div(w.rows, kernels.panel));
  work.unit_cost = 4.0 * kernels.panel * w.columns;
  work.accesses[0] = reads_all(matrix_bytes(w));
  work.accesses[1] = writes_all(kernels.packed_bytes(w.format, w.rows, w.columns));
  return nullptr;
}

void run_pack(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.pack_weights(matrix_of(call, 0, 1), call.pointers[1], from, to);
}

// unpack: 0 packed, 1 out | 0 format, 1 n, 2 k; a unit is a row.

const char* describe_unpack(const Call& call, const Kernels& kernels, Work& work) {
  if (!is_format(call.numbers[0])) return "an unknown format";
  const uint32_t n = call.u32(1), k = call.u32(2);
  if (!has_size(n, k)) return kTooLarge;
  work.units = n;
  work.unit_cost = 4.0 * k;
  work.accesses[0] = reads_all(kernels.packed_bytes(format(call, 0), n, k));
  work.accesses[1] = writes(n, product(k, bytes_of(format(call, 0))));
  return nullptr;
}

void run_unpack(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const uint32_t n = call.u32(1), k = call.u32(2);
  const size_t row_bytes = size_t{k} * bytes_of(format(call, 0));
  for (uint32_t row = from; row < to; row++)
    kernels.unpack_row(format(call, 0), call.pointers[0], n, k, row, call.pointers[1] + row * row_bytes);
}

// stage: 0 a, 1 staged | 0 a format, 1 m, 2 k, 3 row stride, 4 column stride, 5 w format; a unit is a row.

const char* describe_stage(const Call& call, const Kernels& kernels, Work& work) {
  if (!is_format(call.numbers[0]) || !is_format(call.numbers[5])) return "an unknown format";
  const Matrix a = matrix_of(call, 0, 1);
  if (!has_size(a.rows, a.columns)) return kTooLarge;
  work.units = a.rows;
  work.grain = 8;
  work.unit_cost = 2.0 * a.columns;
  const bool dense = a.column_stride == 1 && a.row_stride == a.columns;
  work.accesses[0] = dense ? reads(a.rows, product(a.columns, bytes_of(a.format))) : reads_all(matrix_bytes(a));
  work.accesses[1] = writes_all(kernels.staged_bytes(a.format, format(call, 5), a.rows, a.columns));
  return nullptr;
}

void run_stage(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.stage_activations(matrix_of(call, 0, 1), format(call, 5), call.pointers[1], from, to);
}

// gemm: 0 staged, 1 packed, 2 out, 3 a scales, 4 w scales | 0 reduction, 1 a format, 2 w format, 3 m, 4 n, 5 k,
// 6 out stride, 7 a row stride, 8 a block stride, 9 w row stride, 10 w block stride, 11 block n, 12 block k.
// A unit is a panel of a block of rows: unit = row block · panels + panel.

Gemm gemm_of(const Call& call) {
  Gemm g{};
  g.reduction = static_cast<Reduction>(call.u32(0));
  g.a_format = format(call, 1);
  g.w_format = format(call, 2);
  g.staged = call.pointers[0];
  g.packed = call.pointers[1];
  g.out = call.at<float>(2);
  g.a_scales = call.at<const float>(3);
  g.w_scales = call.at<const float>(4);
  g.m = call.u32(3);
  g.n = call.u32(4);
  g.k = call.u32(5);
  g.out_stride = call.size(6);
  g.a_row_stride = call.size(7);
  g.a_block_stride = call.size(8);
  g.w_row_stride = call.size(9);
  g.w_block_stride = call.size(10);
  g.block_n = call.u32(11);
  g.block_k = call.u32(12);
  return g;
}

/** Bytes of f32 scales up to the last one that is read. */
uint64_t scale_bytes(uint64_t rows, uint64_t row_stride, uint64_t blocks, uint64_t block_stride) {
  return product(sum(sum(product(rows - 1, row_stride), product(blocks - 1, block_stride)), 1), sizeof(float));
}

const char* describe_gemm(const Call& call, const Kernels& kernels, Work& work) {
  if (call.numbers[0] > 1 || !is_format(call.numbers[1]) || !is_format(call.numbers[2])) return "an unknown format";
  const Gemm g = gemm_of(call);
  if (g.m == 0 || g.n == 0 || g.k == 0) return "an empty product";
  if (!has_size(g.m, g.k) || !has_size(g.n, g.k)) return kTooLarge;
  if ((g.a_format == Format::f32) != (g.w_format == Format::f32)) return "f32 with another format";
  if (g.out_stride < g.n) return "rows of the output overlap";
  if (g.block_k == 0 || g.block_n == 0) return "an empty scale block";
  const bool blocks = g.block_k >= g.k || g.block_k % kPromote == 0 || (g.block_k % 4 == 0 && kPromote % g.block_k == 0);
  if (!blocks) return "a block along k that neither divides 128 nor is a multiple of it";
  const uint64_t blocks_k = ceil_div(g.k, g.block_k);
  const uint32_t row_block = kernels.gemm_row_block(g);
  const uint64_t panels = ceil_div(g.n, kernels.panel), row_blocks = ceil_div(g.m, row_block);
  if (product(panels, row_blocks) > UINT32_MAX) return "too many outputs";
  work.units = static_cast<uint32_t>(panels * row_blocks);
  const double rows = g.m < row_block ? g.m : row_block;
  // A panel costs the arithmetic of its rows, but never less than reading it.
  work.unit_cost = (rows < 8 ? 8 : rows) * g.k * kernels.panel / 16;
  work.scratch_bytes = kernels.gemm_scratch_bytes(g);
  work.accesses[0] = reads_all(kernels.staged_bytes(g.a_format, g.w_format, g.m, g.k));
  work.accesses[1] = reads_all(kernels.packed_bytes(g.w_format, g.n, g.k));
  work.accesses[2] = writes_all(product(sum(product(g.m - 1, g.out_stride), g.n), sizeof(float)));
  if (g.a_scales) work.accesses[3] = reads_all(scale_bytes(g.m, g.a_row_stride, blocks_k, g.a_block_stride));
  if (g.w_scales)
    work.accesses[4] = reads_all(scale_bytes(ceil_div(g.n, g.block_n), g.w_row_stride, blocks_k, g.w_block_stride));
  return nullptr;
}

void run_gemm(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void* scratch, Failure&) {
  const Gemm g = gemm_of(call);
  const uint32_t panels = static_cast<uint32_t>(ceil_div(g.n, kernels.panel)), row_block = kernels.gemm_row_block(g);
  for (uint32_t unit = from; unit < to;) {
    const uint32_t row0 = unit / panels * row_block, panel0 = unit % panels;
    const uint32_t panel1 = panel0 + (to - unit) < panels ? panel0 + (to - unit) : panels;
    const uint32_t row1 = g.m - row0 < row_block ? g.m : row0 + row_block;
    kernels.gemm(g, row0, row1, panel0, panel1, scratch);
    unit += panel1 - panel0;
  }
}

// attention: 0 q, 1 k, 2 v, 3 k scales, 4 v scales, 5 start, 6 out | 0 reduction, 1 cache, 2 probs, 3 b, 4 t, 5 s,
// 6 q heads, 7 kv heads, 8 d, 9 window, 10 scale.

Attention attention_of(const Call& call) {
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
  x.out = call.at<float>(6);
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

const char* describe_attention(const Call& call, const Kernels& kernels, Work& work) {
  if (call.numbers[0] > 1 || !is_format(call.numbers[1]) || !is_format(call.numbers[2])) return "an unknown format";
  const Attention x = attention_of(call);
  if (x.cache == Format::f8e5m2 || x.probs == Format::f8e5m2) return "E5M2 in attention";
  if (x.b == 0 || x.t == 0 || x.s == 0 || x.d == 0) return "an empty attention";
  if (x.kv_heads == 0 || x.q_heads == 0 || x.q_heads % x.kv_heads != 0) return "query heads that do not divide";
  const bool f8 = x.cache == Format::f8e4m3fn;
  if (f8 && (!x.k_scales || !x.v_scales)) return "an FP8 cache without scales";
  const uint64_t queries = product(x.b, x.t, x.q_heads, x.d), keys = product(x.b, x.s, x.kv_heads);
  // Positions within one tensor are counted in 32 bits in places; 2^31 elements are far beyond a cache.
  if (queries > INT32_MAX || product(keys, x.d) > INT32_MAX) return "an attention of more than 2^31 elements";
  if (!has_size(x.t, x.d) || !has_size(x.s, x.d)) return kTooLarge;
  work.units = kernels.attention_units(x);
  work.unit_cost = work.units == 0 ? 1 : double(queries) * x.s / work.units / 4;
  work.scratch_bytes = kernels.attention_scratch_bytes(x);
  work.accesses[0] = reads_all(product(queries, x.cache == Format::f32 ? 4 : 2));
  work.accesses[1] = work.accesses[2] = reads_all(product(keys, x.d, bytes_of(x.cache)));
  if (f8) work.accesses[3] = work.accesses[4] = reads_all(keys);
  work.accesses[5] = reads_all(product(x.b, sizeof(int32_t)));
  work.accesses[6] = writes_all(product(queries, sizeof(float)));
  return nullptr;
}

void run_attention(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void* scratch, Failure&) {
  kernels.attention(attention_of(call), from, to, scratch);
}

}  // namespace

const Op kPack{"pack", 2, 5, 0, 0, 1 << 3 | 1 << 4, describe_pack, run_pack};
const Op kUnpack{"unpack", 2, 3, 0, 0, 0, describe_unpack, run_unpack};
const Op kStage{"stage", 2, 6, 0, 0, 1 << 3 | 1 << 4, describe_stage, run_stage};
const Op kGemm{"gemm", 5, 13, 1 << 3 | 1 << 4, 0, 0x7c0, describe_gemm, run_gemm};
const Op kAttention{"attention", 7, 11, 1 << 3 | 1 << 4, 1 << 10, 0, describe_attention, run_attention};

}  // namespace quaver
