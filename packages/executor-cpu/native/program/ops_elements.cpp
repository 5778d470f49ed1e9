// Elementwise ops, casts, and ops that only move bytes.
#include "ops_elements.h"

namespace quaver {
namespace {

constexpr uint64_t kF32 = sizeof(float);

// unary: 0 x, 1 out | 0 operation, 1 rows, 2 n. binary: 0 a, 1 b, 2 out | 0 operation, 1 rows, 2 n.

const char* describe_unary(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > double(Unary::silu)) return "an unknown operation";
  work.units = call.u32(1);
  work.unit_cost = 4.0 * call.u32(2);
  work.accesses[0] = reads(work.units, kF32 * call.u32(2));
  work.accesses[1] = writes(work.units, kF32 * call.u32(2));
  return nullptr;
}

void run_unary(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(2);
  kernels.unary(static_cast<Unary>(call.u32(0)), call.at<float>(0) + from * n, call.at<float>(1) + from * n,
                (to - from) * n);
}

const char* describe_binary(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > double(Binary::swiglu)) return "an unknown operation";
  work.units = call.u32(1);
  work.unit_cost = (call.numbers[0] == double(Binary::swiglu) ? 16.0 : 3.0) * call.u32(2);
  work.accesses[0] = work.accesses[1] = reads(work.units, kF32 * call.u32(2));
  work.accesses[2] = writes(work.units, kF32 * call.u32(2));
  return nullptr;
}

void run_binary(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(2), at = from * n;
  kernels.binary(static_cast<Binary>(call.u32(0)), call.at<float>(0) + at, call.at<float>(1) + at,
                 call.at<float>(2) + at, (to - from) * n);
}

// add_row: 0 x, 1 row, 2 out | 0 rows, 1 n: the same row is added to every row of x.

const char* describe_add_row(const Call& call, const Kernels&, Work& work) {
  const uint64_t row = kF32 * call.u32(1);
  work.units = call.u32(0);
  work.unit_cost = 3.0 * call.u32(1);
  work.accesses[0] = reads(work.units, row);
  work.accesses[1] = reads_all(row);
  work.accesses[2] = writes(work.units, row);
  return nullptr;
}

void run_add_row(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(1);
  for (uint32_t row = from; row < to; row++)
    kernels.binary(Binary::add, call.at<float>(0) + row * n, call.at<float>(1), call.at<float>(2) + row * n, n);
}

// encode: 0 x, 1 codes | 0 format, 1 rows, 2 n, 3 saturate. decode: 0 codes, 1 out | 0 format, 1 rows, 2 n.

const char* describe_cast(const Call& call, Work& work, uint32_t wide, uint32_t narrow) {
  if (call.numbers[0] < double(Format::bf16) || call.numbers[0] >= kFormats) return "a format that is not narrow";
  const uint64_t n = call.u32(2), bytes = bytes_of(static_cast<Format>(call.u32(0)));
  work.units = call.u32(1);
  work.unit_cost = 2.0 * double(n);
  work.accesses[wide] = reads(work.units, kF32 * n);
  work.accesses[narrow] = reads(work.units, bytes * n);
  work.accesses[1].writes = true;
  return nullptr;
}

const char* describe_encode(const Call& call, const Kernels&, Work& work) { return describe_cast(call, work, 0, 1); }
const char* describe_decode(const Call& call, const Kernels&, Work& work) { return describe_cast(call, work, 1, 0); }

void run_encode(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const Format format = static_cast<Format>(call.u32(0));
  const size_t n = call.u32(2), at = from * n;
  kernels.encode(format, call.at<float>(0) + at, call.pointers[1] + at * bytes_of(format), (to - from) * n,
                 call.u32(3) != 0);
}

void run_decode(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  const Format format = static_cast<Format>(call.u32(0));
  const size_t n = call.u32(2), at = from * n;
  kernels.decode(format, call.pointers[0] + at * bytes_of(format), call.at<float>(1) + at, (to - from) * n);
}

// decode_e8m0: 0 codes, 1 out f32 | 0 n.

const char* describe_decode_e8m0(const Call& call, const Kernels&, Work& work) {
  work.units = call.u32(0);
  work.grain = 64;
  work.accesses[0] = reads(work.units, 1);
  work.accesses[1] = writes(work.units, kF32);
  return nullptr;
}

void run_decode_e8m0(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  for (uint32_t i = from; i < to; i++) {
    const uint32_t code = call.pointers[0][i];
    // 2^(code − 127); 2^-127 is a subnormal f32, 255 is NaN.
    call.at<uint32_t>(1)[i] = code == 255 ? 0x7fc00000 : code == 0 ? 0x00400000 : code << 23;
  }
}

// copy: 0 from, 1 to | 0 rows, 1 bytes of a row. The two may be the same place, but do not overlap otherwise.

const char* describe_copy(const Call& call, const Kernels&, Work& work) {
  work.units = call.u32(0);
  work.unit_cost = call.numbers[1] / 4;
  work.accesses[0] = reads(work.units, call.size(1));
  work.accesses[1] = writes(work.units, call.size(1));
  return nullptr;
}

void run_copy(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t bytes = call.size(1);
  if (call.pointers[0] == call.pointers[1]) return;
  __builtin_memmove(call.pointers[1] + from * bytes, call.pointers[0] + from * bytes, (to - from) * bytes);
}

// fill: 0 out | 0 rows, 1 n, 2 element bytes (1, 2 or 4), 3 the bits of an element.

const char* describe_fill(const Call& call, const Kernels&, Work& work) {
  const uint64_t bytes = call.u32(2);
  if (bytes != 1 && bytes != 2 && bytes != 4) return "an element of another size";
  work.units = call.u32(0);
  work.unit_cost = double(call.u32(1) * bytes) / 4;
  work.accesses[0] = writes(work.units, call.u32(1) * bytes);
  return nullptr;
}

template <class Element>
void fill(const Call& call, size_t from, size_t to) {
  Element* const out = call.at<Element>(0);
  const Element element = static_cast<Element>(call.u32(3));
  for (size_t i = from; i < to; i++) out[i] = element;
}

void run_fill(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(1);
  if (call.u32(2) == 1) fill<uint8_t>(call, from * n, to * n);
  if (call.u32(2) == 2) fill<uint16_t>(call, from * n, to * n);
  if (call.u32(2) == 4) fill<uint32_t>(call, from * n, to * n);
}

// gather: 0 table, 1 indices, 2 out | 0 batches, 1 indices of a batch, 2 bound, 3 bytes of a row; a unit is an index.

const char* describe_indices(const Call& call, Work& work, uint64_t row_bytes) {
  const uint64_t indices = product(call.u32(0), call.u32(1));
  if (indices > UINT32_MAX) return "too many indices";
  work.units = static_cast<uint32_t>(indices);
  work.unit_cost = double(row_bytes) / 2;
  work.accesses[1] = reads(indices, sizeof(int32_t));
  work.accesses[2] = writes(indices, row_bytes);
  return nullptr;
}

const char* describe_gather(const Call& call, const Kernels&, Work& work) {
  work.accesses[0] = reads_all(product(call.u32(0), call.u32(2), call.size(3)));
  return describe_indices(call, work, call.size(3));
}

/** Reads index i once: whoever shares the memory cannot change it between the check and the use. */
bool take_index(const Call& call, uint32_t i, uint32_t& index, Failure& failure) {
  const int32_t found = __atomic_load_n(call.at<const int32_t>(1) + i, __ATOMIC_RELAXED);
  index = static_cast<uint32_t>(found);
  if (index < call.u32(2)) return true;
  failure.code = kIndexOutOfRange;
  failure.position = i;
  failure.found = found;
  failure.limit = call.u32(2);
  return false;
}

void run_gather(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure& failure) {
  const size_t row = call.size(3), per_batch = call.u32(1), bound = call.u32(2);
  for (uint32_t i = from; i < to; i++) {
    uint32_t index;
    if (!take_index(call, i, index, failure)) return;
    __builtin_memcpy(call.pointers[2] + i * row, call.pointers[0] + (i / per_batch * bound + index) * row, row);
  }
}

// gather_packed: 0 packed table, 1 indices, 2 out | 0 batches (1), 1 indices, 2 rows of the table, 3 k, 4 format.

const char* describe_gather_packed(const Call& call, const Kernels& kernels, Work& work) {
  if (call.numbers[0] != 1) return "batches of a packed table";
  if (call.numbers[4] >= kFormats) return "an unknown format";
  const Format format = static_cast<Format>(call.u32(4));
  const uint64_t k = call.u32(3);
  if (!has_size(call.u32(2), k)) return kTooLarge;
  work.accesses[0] = reads_all(kernels.packed_bytes(format, call.u32(2), call.u32(3)));
  return describe_indices(call, work, k * bytes_of(format));
}

void run_gather_packed(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure& failure) {
  const Format format = static_cast<Format>(call.u32(4));
  const uint32_t n = call.u32(2), k = call.u32(3);
  const size_t row = size_t{k} * bytes_of(format);
  for (uint32_t i = from; i < to; i++) {
    uint32_t index;
    if (!take_index(call, i, index, failure)) return;
    kernels.unpack_row(format, call.pointers[0], n, k, index, call.pointers[2] + i * row);
  }
}

// update_slice: 0 operand, 1 update, 2 start, 3 out | 0 batch, 1 capacity, 2 rows of the update, 3 bytes of a row;
// a unit is a batch. Rows that would fall outside are dropped.

const char* describe_update_slice(const Call& call, const Kernels&, Work& work) {
  const uint64_t batch = call.u32(0), row = call.size(3), whole = product(call.u32(1), row);
  const bool in_place = call.pointers[0] == call.pointers[3];
  work.units = call.u32(0);
  work.unit_cost = double(in_place ? product(call.u32(2), row) : whole) / 4;
  work.accesses[0] = reads(batch, whole);
  work.accesses[1] = reads(batch, product(call.u32(2), row));
  work.accesses[2] = reads(batch, sizeof(int32_t));
  work.accesses[3] = writes(batch, whole);
  return nullptr;
}

void run_update_slice(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const int64_t capacity = call.u32(1), rows = call.u32(2);
  const size_t row = call.size(3);
  for (uint32_t b = from; b < to; b++) {
    uint8_t* out = call.pointers[3] + b * capacity * row;
    if (call.pointers[0] != call.pointers[3])
      __builtin_memcpy(out, call.pointers[0] + b * capacity * row, capacity * row);
    const int64_t start = __atomic_load_n(call.at<const int32_t>(2) + b, __ATOMIC_RELAXED);
    const int64_t first = start < 0 ? -start : 0;
    const int64_t room = capacity - start, last = room < rows ? room : rows;
    if (first >= last) continue;
    __builtin_memcpy(out + (start + first) * row, call.pointers[1] + (b * rows + first) * row, (last - first) * row);
  }
}

// strided_copy: 0 from, 1 to | 0 element bytes, 1 … 6 sizes, 7 … 12 strides of from, 13 … 18 strides of to, 19, 20 the
// first element of from and of to; all in elements. A unit is an index of the first axis.

constexpr uint32_t kAxes = 6;

uint32_t axis_size(const Call& call, uint32_t axis) { return call.u32(1 + axis); }
size_t from_stride(const Call& call, uint32_t axis) { return call.size(1 + kAxes + axis); }
size_t to_stride(const Call& call, uint32_t axis) { return call.size(1 + 2 * kAxes + axis); }

const char* describe_strided_copy(const Call& call, const Kernels&, Work& work) {
  const uint32_t bytes = call.u32(0);
  if (bytes != 1 && bytes != 2 && bytes != 4) return "an element of another size";
  uint64_t count = 1, from = call.size(1 + 3 * kAxes), to = call.size(2 + 3 * kAxes);
  for (uint32_t axis = 0; axis < kAxes; axis++) {
    const uint64_t size = axis_size(call, axis);
    count = product(count, size);
    if (size == 0) continue;
    from = sum(from, product(size - 1, from_stride(call, axis)));
    to = sum(to, product(size - 1, to_stride(call, axis)));
  }
  if (count > 0 && count > sum(to - call.size(2 + 3 * kAxes), 1)) return "elements that are written twice";
  // Without elements there is no work, however long the other axes are.
  work.units = count == 0 ? 0 : axis_size(call, 0);
  work.unit_cost = work.units == 0 ? 1 : 2.0 * double(count) / work.units;
  work.accesses[0] = reads_all(count == 0 ? 0 : product(sum(from, 1), bytes));
  work.accesses[1] = writes_all(count == 0 ? 0 : product(sum(to, 1), bytes));
  return nullptr;
}

/** The innermost loop: what most copies are, a run or one element over and over, is vectorized. */
template <class Element>
void copy_run(const Element* from, size_t from_step, Element* to, size_t to_step, uint32_t size) {
  if (to_step == 1 && from_step == 1) {
    for (uint32_t i = 0; i < size; i++) to[i] = from[i];
  } else if (to_step == 1 && from_step == 0) {
    const Element element = *from;
    for (uint32_t i = 0; i < size; i++) to[i] = element;
  } else {
    for (uint32_t i = 0; i < size; i++) to[i * to_step] = from[i * from_step];
  }
}

/** Everything at one index of the axes before `Axis`. */
template <class Element, uint32_t Axis>
void copy_axes(const Call& call, const Element* from, Element* to) {
  const uint32_t size = axis_size(call, Axis);
  const size_t from_step = from_stride(call, Axis), to_step = to_stride(call, Axis);
  if constexpr (Axis + 1 < kAxes)
    for (uint32_t i = 0; i < size; i++) copy_axes<Element, Axis + 1>(call, from + i * from_step, to + i * to_step);
  else if (size > 0)
    copy_run(from, from_step, to, to_step, size);
}

template <class Element>
void copy_unit(const Call& call, uint32_t unit) {
  const Element* from = call.at<const Element>(0) + call.size(1 + 3 * kAxes) + unit * from_stride(call, 0);
  Element* to = call.at<Element>(1) + call.size(2 + 3 * kAxes) + unit * to_stride(call, 0);
  copy_axes<Element, 1>(call, from, to);
}

/** Rows become columns: what is side by side on the first axis is so in `from`, and what is on the last one in `to`. */
bool is_transposed(const Call& call) {
  for (uint32_t axis = 1; axis + 1 < kAxes; axis++)
    if (axis_size(call, axis) != 1) return false;
  return from_stride(call, 0) == 1 && to_stride(call, kAxes - 1) == 1 && from_stride(call, kAxes - 1) > 1;
}

/** Units together, a cache line of each at a time: the lines that are read serve all of them while they are near. */
template <class Element>
void transpose_units(const Call& call, uint32_t unit0, uint32_t unit1) {
  constexpr uint32_t line = 64 / sizeof(Element);
  const uint32_t size = axis_size(call, kAxes - 1);
  const size_t from_step = from_stride(call, kAxes - 1), to_step = to_stride(call, 0);
  const Element* from = call.at<const Element>(0) + call.size(1 + 3 * kAxes);
  Element* to = call.at<Element>(1) + call.size(2 + 3 * kAxes);
  for (uint32_t i = 0; i < size; i += line) {
    const uint32_t count = size - i < line ? size - i : line;
    for (uint32_t unit = unit0; unit < unit1; unit++)
      copy_run(from + unit + i * from_step, from_step, to + unit * to_step + i, 1, count);
  }
}

void run_strided_copy(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  if (is_transposed(call)) {
    if (call.u32(0) == 1) transpose_units<uint8_t>(call, from, to);
    if (call.u32(0) == 2) transpose_units<uint16_t>(call, from, to);
    if (call.u32(0) == 4) transpose_units<uint32_t>(call, from, to);
    return;
  }
  for (uint32_t i = from; i < to; i++) {
    if (call.u32(0) == 1) copy_unit<uint8_t>(call, i);
    if (call.u32(0) == 2) copy_unit<uint16_t>(call, i);
    if (call.u32(0) == 4) copy_unit<uint32_t>(call, i);
  }
}

}  // namespace

const Op kUnary{"unary", 2, 3, 0, 0, 0, describe_unary, run_unary};
const Op kBinary{"binary", 3, 3, 0, 0, 0, describe_binary, run_binary};
const Op kAddRow{"add_row", 3, 2, 0, 0, 0, describe_add_row, run_add_row};
const Op kEncode{"encode", 2, 4, 0, 0, 0, describe_encode, run_encode};
const Op kDecode{"decode", 2, 3, 0, 0, 0, describe_decode, run_decode};
const Op kDecodeE8m0{"decode_e8m0", 2, 1, 0, 0, 0, describe_decode_e8m0, run_decode_e8m0};
const Op kCopy{"copy", 2, 2, 0, 0, 1 << 1, describe_copy, run_copy};
const Op kFill{"fill", 1, 4, 0, 0, 0, describe_fill, run_fill};
const Op kGather{"gather", 3, 4, 0, 0, 1 << 3, describe_gather, run_gather};
const Op kGatherPacked{"gather_packed", 3, 5, 0, 0, 0, describe_gather_packed, run_gather_packed};
const Op kUpdateSlice{"update_slice", 4, 4, 0, 0, 1 << 3, describe_update_slice, run_update_slice};
const Op kStridedCopy{"strided_copy", 2, 3 + 3 * kAxes, 0, 0, 0x1fff80, describe_strided_copy, run_strided_copy};

}  // namespace quaver
