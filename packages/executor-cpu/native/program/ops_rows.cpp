// Ops on the rows of a matrix: norms, softmax, quantization, rotation. A unit is a row.
#include "ops_rows.h"

namespace quaver {
namespace {

constexpr uint64_t kF32 = sizeof(float);

Reduction reduction(const Call& call) { return static_cast<Reduction>(call.u32(0)); }
bool is_f8(double number) { return number == double(Format::f8e4m3fn) || number == double(Format::f8e5m2); }
constexpr const char* kNotFp8 = "a format that is not FP8";
constexpr const char* kNoReduction = "an unknown reduction";

// rms_norm: 0 x, 1 weight, 2 out | 0 reduction, 1 rows, 2 n, 3 eps.

const char* describe_rms_norm(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > 1) return kNoReduction;
  const uint64_t row = kF32 * call.u32(2);
  work.units = call.u32(1);
  work.unit_cost = 3.0 * call.u32(2);
  work.accesses[0] = reads(work.units, row);
  work.accesses[1] = reads_all(row);
  work.accesses[2] = writes(work.units, row);
  return nullptr;
}

void run_rms_norm(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.rms_norm(reduction(call), call.at<float>(0), call.at<float>(1), call.at<float>(2), call.u32(2),
                   static_cast<float>(call.numbers[3]), from, to);
}

// softmax, log_softmax: 0 x, 1 out | 0 reduction, 1 rows, 2 n.

const char* describe_softmax(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > 1) return kNoReduction;
  const uint64_t row = kF32 * call.u32(2);
  work.units = call.u32(1);
  work.unit_cost = 16.0 * call.u32(2);
  work.accesses[0] = reads(work.units, row);
  work.accesses[1] = writes(work.units, row);
  return nullptr;
}

void run_softmax(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.softmax(reduction(call), call.at<float>(0), call.at<float>(1), call.u32(2), from, to);
}

void run_log_softmax(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.log_softmax(reduction(call), call.at<float>(0), call.at<float>(1), call.u32(2), from, to);
}

// log_softmax_gather: 0 x, 1 targets, 2 out | 0 reduction, 1 rows, 2 n.

const char* describe_log_softmax_gather(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > 1) return kNoReduction;
  work.units = call.u32(1);
  work.unit_cost = 16.0 * call.u32(2);
  work.accesses[0] = reads(work.units, kF32 * call.u32(2));
  work.accesses[1] = reads(work.units, sizeof(int32_t));
  work.accesses[2] = writes(work.units, kF32);
  return nullptr;
}

void run_log_softmax_gather(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*,
                            Failure& failure) {
  const uint32_t n = call.u32(2);
  for (uint32_t row = from; row < to; row++) {
    // Read once: whoever shares the memory cannot change it between the check and the use.
    const int32_t target = __atomic_load_n(call.at<const int32_t>(1) + row, __ATOMIC_RELAXED);
    if (static_cast<uint32_t>(target) >= n) {
      failure.code = kIndexOutOfRange;
      failure.position = row;
      failure.found = target;
      failure.limit = n;
      return;
    }
    const size_t first = size_t{row} * n;
    kernels.log_softmax_gather(reduction(call), call.at<float>(0) + first, &target, call.at<float>(2) + row, n, 0, 1);
  }
}

// quantize_rows: 0 x, 1 codes, 2 scales | 0 format, 1 rows, 2 k, 3 block, 4 rounding.

const char* describe_quantize_rows(const Call& call, Work& work, uint64_t scale_bytes) {
  if (!is_f8(call.numbers[0])) return kNotFp8;
  if (call.u32(3) == 0) return "an empty block";
  const uint64_t k = call.u32(2);
  work.units = call.u32(1);
  work.unit_cost = 3.0 * double(k);
  work.accesses[0] = reads(work.units, kF32 * k);
  work.accesses[1] = writes(work.units, k);
  work.accesses[2] = writes(work.units, scale_bytes * ceil_div(k, call.u32(3)));
  return nullptr;
}

const char* describe_quantize_rows_f32(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[4] > 1) return "an unknown rounding";
  return describe_quantize_rows(call, work, kF32);
}

const char* describe_quantize_rows_e8m0(const Call& call, const Kernels&, Work& work) {
  return describe_quantize_rows(call, work, 1);
}

void run_quantize_rows(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.quantize_rows(static_cast<Format>(call.u32(0)), call.at<float>(0), call.pointers[1], call.at<float>(2),
                        call.u32(2), call.u32(3), static_cast<Rounding>(call.u32(4)), from, to);
}

void run_quantize_rows_e8m0(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.quantize_rows_e8m0(static_cast<Format>(call.u32(0)), call.at<float>(0), call.pointers[1], call.pointers[2],
                             call.u32(2), call.u32(3), from, to);
}

// quantize_by: 0 x, 1 scales, 2 codes | 0 format, 1 rows, 2 k, 3 scale stride, 4 block of rows, 5 block of columns,
// 6 saturate. dequantize_by: 0 codes, 1 scales, 2 out | the same without saturate.

const char* describe_by(const Call& call, Work& work) {
  if (!is_f8(call.numbers[0])) return kNotFp8;
  if (call.u32(4) == 0 || call.u32(5) == 0) return "an empty block";
  work.units = call.u32(1);
  const uint64_t rows = work.units, k = call.u32(2);
  work.unit_cost = 2.0 * double(k);
  const uint64_t last_row = rows == 0 ? 0 : product((rows - 1) / call.u32(4), call.size(3));
  work.accesses[1] = reads_all(rows == 0 ? 0 : product(sum(last_row, ceil_div(k, call.u32(5))), kF32));
  return nullptr;
}

const char* describe_quantize_by(const Call& call, const Kernels&, Work& work) {
  work.accesses[0] = reads(call.u32(1), kF32 * call.u32(2));
  work.accesses[2] = writes(call.u32(1), call.u32(2));
  return describe_by(call, work);
}

const char* describe_dequantize_by(const Call& call, const Kernels&, Work& work) {
  work.accesses[0] = reads(call.u32(1), call.u32(2));
  work.accesses[2] = writes(call.u32(1), kF32 * call.u32(2));
  return describe_by(call, work);
}

void run_quantize_by(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.quantize_by(static_cast<Format>(call.u32(0)), call.at<float>(0), call.at<float>(1), call.size(3), call.u32(4),
                      call.u32(5), call.u32(6) != 0, call.pointers[2], call.u32(2), from, to);
}

void run_dequantize_by(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.dequantize_by(static_cast<Format>(call.u32(0)), call.pointers[0], call.at<float>(1), call.size(3),
                        call.u32(4), call.u32(5), call.at<float>(2), call.u32(2), from, to);
}

// rope: 0 x, 1 cos, 2 sin, 3 start, 4 out | 0 b, 1 t, 2 heads, 3 d, 4 rotated, 5 positions,
// 6 whether `start` has a position for every token, not for the first one of a sequence. A unit is a token.

const char* describe_rope(const Call& call, const Kernels&, Work& work) {
  const uint64_t tokens = product(call.u32(0), call.u32(1)), row = product(call.u32(2), call.u32(3), kF32);
  if (tokens > UINT32_MAX || call.numbers[6] > 1) return "too many tokens";
  if (call.u32(4) > call.u32(3) || call.u32(4) % 2 != 0) return "a rotated part that is not half of pairs";
  const uint64_t table = product(call.u32(5), call.u32(4) / 2, kF32);
  work.units = static_cast<uint32_t>(tokens);
  work.unit_cost = double(row) / 2;
  work.accesses[0] = reads(tokens, row);
  work.accesses[1] = work.accesses[2] = reads_all(table);
  work.accesses[3] = call.u32(6) ? reads(tokens, sizeof(int32_t)) : reads_all(product(call.u32(0), sizeof(int32_t)));
  work.accesses[4] = writes(tokens, row);
  return nullptr;
}

void run_rope(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure& failure) {
  const uint32_t t = call.u32(1), h = call.u32(2), d = call.u32(3), rotated = call.u32(4), positions = call.u32(5);
  const int32_t* start = call.at<const int32_t>(3);
  const bool each = call.u32(6) != 0;
  const size_t row = size_t{h} * d;
  for (uint32_t token = from; token < to; token++) {
    const uint32_t at = each ? token : token / t;
    const int64_t position = int64_t{__atomic_load_n(start + at, __ATOMIC_RELAXED)} + (each ? 0 : token % t);
    if (position < 0 || position >= positions) {
      failure.code = kIndexOutOfRange;
      failure.position = at;
      failure.found = position;
      failure.limit = positions;
      return;
    }
    const size_t table = static_cast<size_t>(position) * (rotated / 2);
    kernels.rope(call.at<float>(0) + token * row, call.at<float>(1) + table, call.at<float>(2) + table,
                 call.at<float>(4) + token * row, h, d, rotated);
  }
}

}  // namespace

const Op kRmsNorm{"rms_norm", 3, 4, 0, 1 << 3, 0, describe_rms_norm, run_rms_norm};
const Op kSoftmax{"softmax", 2, 3, 0, 0, 0, describe_softmax, run_softmax};
const Op kLogSoftmax{"log_softmax", 2, 3, 0, 0, 0, describe_softmax, run_log_softmax};
const Op kLogSoftmaxGather{"log_softmax_gather", 3, 3, 0, 0, 0, describe_log_softmax_gather, run_log_softmax_gather};
const Op kQuantizeRows{"quantize_rows", 3, 5, 0, 0, 0, describe_quantize_rows_f32, run_quantize_rows};
const Op kQuantizeRowsE8m0{"quantize_rows_e8m0", 3, 4, 0, 0, 0, describe_quantize_rows_e8m0, run_quantize_rows_e8m0};
const Op kQuantizeBy{"quantize_by", 3, 7, 0, 0, 1 << 3, describe_quantize_by, run_quantize_by};
const Op kDequantizeBy{"dequantize_by", 3, 6, 0, 0, 1 << 3, describe_dequantize_by, run_dequantize_by};
const Op kRope{"rope", 5, 7, 0, 0, 0, describe_rope, run_rope};

}  // namespace quaver
