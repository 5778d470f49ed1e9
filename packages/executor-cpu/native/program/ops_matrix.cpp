// Packing, staging and matrix products.
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

// batch_dot: 0 lhs, 1 rhs, 2 out f32[b0, b1, m, n] | 0 reduction, 1 a format, 2 w format, 3 b0, 4 b1, 5 m, 6 n, 7 k, and
// in elements 8 … 11 the strides of lhs along b0, b1, m, k, 12 … 15 those of rhs along b0, b1, n, k. A unit is a batch.

/** One matrix of a batch, and how far it is to the next ones. */
struct Batch {
  Matrix first;
  size_t stride0, stride1;

  uint64_t bytes(uint64_t b0, uint64_t b1) const {
    const uint64_t one = matrix_bytes(first), element = bytes_of(first.format);
    return sum(one, sum(product(b0 - 1, stride0, element), product(b1 - 1, stride1, element)));
  }
  Matrix at(size_t i0, size_t i1) const {
    Matrix x = first;
    x.data = static_cast<const uint8_t*>(x.data) + (i0 * stride0 + i1 * stride1) * bytes_of(x.format);
    return x;
  }
};

Batch batch_of(const Call& call, uint32_t pointer, uint32_t rows_at) {
  const uint32_t strides = 8 + 4 * pointer;
  return {{format(call, 1 + pointer), call.pointers[pointer], call.u32(rows_at), call.u32(7), call.size(strides + 2),
           call.size(strides + 3)},
          call.size(strides),
          call.size(strides + 1)};
}

Gemm batch_gemm(const Call& call) {
  Gemm g{};
  g.reduction = static_cast<Reduction>(call.u32(0));
  g.a_format = format(call, 1);
  g.w_format = format(call, 2);
  g.m = call.u32(5);
  g.n = g.out_stride = call.u32(6);
  g.k = g.block_k = call.u32(7);
  g.block_n = 1;
  return g;
}

/** Where a thread keeps what one batch needs. */
struct BatchScratch {
  size_t packed, staged, total;

  BatchScratch(const Kernels& kernels, const Gemm& g)
      : packed(aligned(kernels.gemm_scratch_bytes(g))),
        staged(packed + aligned(kernels.packed_bytes(g.w_format, g.n, g.k))),
        total(staged + aligned(kernels.staged_bytes(g.a_format, g.w_format, g.m, g.k))) {}

 private:
  static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
};

const char* describe_batch_dot(const Call& call, const Kernels& kernels, Work& work) {
  if (call.numbers[0] > 1 || !is_format(call.numbers[1]) || !is_format(call.numbers[2])) return "an unknown format";
  const Gemm g = batch_gemm(call);
  if (g.m == 0 || g.n == 0 || g.k == 0 || call.u32(3) == 0 || call.u32(4) == 0) return "an empty product";
  // A batch is packed, staged and multiplied in scratch: an eighth of the memory for each leaves room.
  if (!has_size(sum(g.m, g.n), product(8, sum(g.k, 64)))) return kTooLarge;
  if ((g.a_format == Format::f32) != (g.w_format == Format::f32)) return "f32 with another format";
  const uint64_t batches = product(call.u32(3), call.u32(4));
  if (batches > UINT32_MAX) return "too many batches";
  work.units = static_cast<uint32_t>(batches);
  work.unit_cost = double(g.m) * g.k * g.n / 16 + 4.0 * g.n * g.k;
  work.scratch_bytes = BatchScratch(kernels, g).total;
  work.accesses[0] = reads_all(batch_of(call, 0, 5).bytes(call.u32(3), call.u32(4)));
  work.accesses[1] = reads_all(batch_of(call, 1, 6).bytes(call.u32(3), call.u32(4)));
  work.accesses[2] = writes(batches, product(g.m, g.n, sizeof(float)));
  return nullptr;
}

void run_batch_dot(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void* memory, Failure&) {
  Gemm g = batch_gemm(call);
  uint8_t* scratch = static_cast<uint8_t*>(memory);
  const BatchScratch at(kernels, g);
  const Batch lhs = batch_of(call, 0, 5), rhs = batch_of(call, 1, 6);
  const uint32_t panels = static_cast<uint32_t>(ceil_div(g.n, kernels.panel)), row_block = kernels.gemm_row_block(g);
  g.packed = scratch + at.packed;
  g.staged = scratch + at.staged;
  for (uint32_t unit = from; unit < to; unit++) {
    const size_t i0 = unit / call.u32(4), i1 = unit % call.u32(4);
    kernels.pack_weights(rhs.at(i0, i1), scratch + at.packed, 0, panels);
    kernels.stage_activations(lhs.at(i0, i1), g.w_format, scratch + at.staged, 0, g.m);
    g.out = call.at<float>(2) + size_t{unit} * g.m * g.n;
    for (uint32_t row = 0; row < g.m; row += row_block)
      kernels.gemm(g, row, g.m - row < row_block ? g.m : row + row_block, 0, panels, scratch);
  }
}

}  // namespace

const Op kPack{"pack", 2, 5, 0, 0, 1 << 3 | 1 << 4, describe_pack, run_pack};
const Op kUnpack{"unpack", 2, 3, 0, 0, 0, describe_unpack, run_unpack};
const Op kStage{"stage", 2, 6, 0, 0, 1 << 3 | 1 << 4, describe_stage, run_stage};
const Op kGemm{"gemm", 5, 13, 1 << 3 | 1 << 4, 0, 0x7c0, describe_gemm, run_gemm};
const Op kBatchDot{"batch_dot", 3, 16, 0, 0, 0xff00, describe_batch_dot, run_batch_dot};

}  // namespace quaver
