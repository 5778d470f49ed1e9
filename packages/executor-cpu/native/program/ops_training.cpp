// Ops that training adds.
#include "ops_training.h"

namespace quaver {
namespace {

constexpr uint64_t kF32 = sizeof(float);

// scatter_add: 0 operand, 1 indices, 2 updates, 3 out | 0 rows, 1 indices, 2 width. A unit is a block of columns, so that
// one thread adds all updates of an element, in their order.

constexpr uint32_t kColumns = 64;

const char* describe_scatter_add(const Call& call, const Kernels&, Work& work) {
  const uint64_t rows = call.u32(0), count = call.u32(1), width = call.u32(2);
  work.units = static_cast<uint32_t>(ceil_div(width, kColumns));
  work.unit_cost = 3.0 * kColumns * double(count + rows);
  work.accesses[0] = reads_all(product(rows, width, kF32));
  work.accesses[1] = reads_all(product(count, sizeof(int32_t)));
  work.accesses[2] = reads_all(product(count, width, kF32));
  work.accesses[3] = writes_all(product(rows, width, kF32));
  return nullptr;
}

void run_scatter_add(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure& failure) {
  const size_t rows = call.u32(0), count = call.u32(1), width = call.u32(2);
  const size_t first = size_t{from} * kColumns;
  const size_t columns = (size_t{to} * kColumns < width ? size_t{to} * kColumns : width) - first;
  const float* operand = call.at<const float>(0) + first;
  const float* updates = call.at<const float>(2) + first;
  float* out = call.at<float>(3) + first;
  if (operand != out)
    for (size_t row = 0; row < rows; row++)
      __builtin_memcpy(out + row * width, operand + row * width, columns * sizeof(float));
  for (size_t i = 0; i < count; i++) {
    // Read once: whoever shares the memory cannot change it between the check and the use.
    const int32_t index = __atomic_load_n(call.at<const int32_t>(1) + i, __ATOMIC_RELAXED);
    if (index < 0 || static_cast<size_t>(index) >= rows) {
      failure = {0, static_cast<int64_t>(i), index, static_cast<int64_t>(rows), kIndexOutOfRange};
      return;
    }
    float* row = out + static_cast<size_t>(index) * width;
    kernels.binary(Binary::add, row, updates + i * width, row, columns);
  }
}

// adamw: 0 parameter, 1 gradient, 2 m, 3 v, 4 rate, 5 correction1, 6 correction2, 7 … 9 parameter, m, v of the result |
// 0 rows, 1 n, 2 beta1, 3 1 − beta1, 4 beta2, 5 1 − beta2, 6 eps, 7 weight decay.

const char* describe_adamw(const Call& call, const Kernels&, Work& work) {
  work.units = call.u32(0);
  work.unit_cost = 24.0 * call.u32(1);
  for (uint32_t i = 0; i < 4; i++) work.accesses[i] = reads(work.units, kF32 * call.u32(1));
  for (uint32_t i = 4; i < 7; i++) work.accesses[i] = reads_all(kF32);
  for (uint32_t i = 7; i < 10; i++) work.accesses[i] = writes(work.units, kF32 * call.u32(1));
  return nullptr;
}

void run_adamw(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const auto number = [&](uint32_t i) { return static_cast<float>(call.numbers[i]); };
  const AdamW step{call.at<float>(0), call.at<float>(1), call.at<float>(2), call.at<float>(3), call.at<float>(4),
                   call.at<float>(5), call.at<float>(6), call.at<float>(7), call.at<float>(8), call.at<float>(9),
                   number(2),         number(3),         number(4),         number(5),         number(6),
                   number(7)};
  const size_t n = call.u32(1);
  kernels.adamw(step, from * n, to * n);
}

// rms_norm_grad: 0 x, 1 weight, 2 dy, 3 dx, 4 partials | 0 rows, 1 n, 2 eps. A unit is a block of kGradRows rows.

const char* describe_rms_norm_grad(const Call& call, const Kernels&, Work& work) {
  const uint64_t rows = call.u32(0), row = kF32 * call.u32(1), all = product(rows, row), unit = kGradRows * row;
  work.units = static_cast<uint32_t>(ceil_div(rows, kGradRows));
  work.unit_cost = 2.0 * double(unit);
  work.accesses[0] = work.accesses[2] = {all, unit, false};
  work.accesses[1] = reads_all(row);
  work.accesses[3] = {all, unit, true};
  work.accesses[4] = writes(work.units, row);
  return nullptr;
}

void run_rms_norm_grad(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  kernels.rms_norm_grad(call.at<float>(0), call.at<float>(1), call.at<float>(2), call.at<float>(3), call.at<float>(4),
                        call.u32(0), call.u32(1), static_cast<float>(call.numbers[2]), from, to);
}

// sum_blocks: 0 partials, 1 out | 0 blocks, 1 n: out[i] = ((0 + partials[0, i]) + partials[1, i]) + …
// A unit is a block of columns.

const char* describe_sum_blocks(const Call& call, const Kernels&, Work& work) {
  const uint64_t blocks = call.u32(0), n = call.u32(1);
  work.units = static_cast<uint32_t>(ceil_div(n, kColumns));
  work.unit_cost = 2.0 * kColumns * double(blocks + 1);
  work.accesses[0] = reads_all(product(blocks, n, kF32));
  work.accesses[1] = {n * kF32, kColumns * kF32, true};
  return nullptr;
}

void run_sum_blocks(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t blocks = call.u32(0), n = call.u32(1), first = size_t{from} * kColumns;
  const size_t columns = (size_t{to} * kColumns < n ? size_t{to} * kColumns : n) - first;
  const float* partials = call.at<const float>(0) + first;
  float* out = call.at<float>(1) + first;
  __builtin_memset(out, 0, columns * sizeof(float));
  for (size_t block = 0; block < blocks; block++)
    kernels.binary(Binary::add, out, partials + block * n, out, columns);
}

// swiglu_grad: 0 gate, 1 up, 2 dy, 3 dgate, 4 dup | 0 rows, 1 n.

const char* describe_swiglu_grad(const Call& call, const Kernels&, Work& work) {
  work.units = call.u32(0);
  work.unit_cost = 24.0 * call.u32(1);
  for (uint32_t i = 0; i < 5; i++) work.accesses[i] = reads(work.units, kF32 * call.u32(1));
  work.accesses[3].writes = work.accesses[4].writes = true;
  return nullptr;
}

void run_swiglu_grad(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(1), at = from * n;
  kernels.swiglu_grad(call.at<float>(0) + at, call.at<float>(1) + at, call.at<float>(2) + at, call.at<float>(3) + at,
                      call.at<float>(4) + at, (to - from) * n);
}

// log_softmax_gather_grad: 0 x, 1 targets, 2 dy, 3 dx | 0 rows, 1 n.

const char* describe_log_softmax_gather_grad(const Call& call, const Kernels&, Work& work) {
  const uint64_t row = kF32 * call.u32(1);
  work.units = call.u32(0);
  work.unit_cost = 20.0 * call.u32(1);
  work.accesses[0] = reads(work.units, row);
  work.accesses[1] = reads(work.units, sizeof(int32_t));
  work.accesses[2] = reads(work.units, kF32);
  work.accesses[3] = writes(work.units, row);
  return nullptr;
}

void run_log_softmax_gather_grad(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*,
                                 Failure&) {
  const size_t n = call.u32(1);
  for (size_t row = from; row < to; row++) {
    // Read once: whoever shares the memory cannot change it between the check and the use.
    const int32_t target = __atomic_load_n(call.at<const int32_t>(1) + row, __ATOMIC_RELAXED);
    kernels.log_softmax_gather_grad(call.at<float>(0) + row * n, target, call.at<float>(2)[row],
                                    call.at<float>(3) + row * n, call.u32(1));
  }
}

}  // namespace

const Op kRmsNormGrad{"rms_norm_grad", 5, 3, 0, 1 << 2, 0, describe_rms_norm_grad, run_rms_norm_grad};
const Op kSumBlocks{"sum_blocks", 2, 2, 0, 0, 0, describe_sum_blocks, run_sum_blocks};
const Op kSwigluGrad{"swiglu_grad", 5, 2, 0, 0, 0, describe_swiglu_grad, run_swiglu_grad};
const Op kLogSoftmaxGatherGrad{"log_softmax_gather_grad",   4, 2, 0, 0, 0, describe_log_softmax_gather_grad,
                               run_log_softmax_gather_grad};
const Op kScatterAdd{"scatter_add", 4, 3, 0, 0, 0, describe_scatter_add, run_scatter_add};
const Op kAdamW{"adamw", 10, 8, 0, 0xfc, 0, describe_adamw, run_adamw};

}  // namespace quaver
