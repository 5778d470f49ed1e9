// Reductions over any axis, and the ops that masks are made of.
#include "ops_reduce.h"

namespace quaver {
namespace {

constexpr uint64_t kF32 = sizeof(float);

// reduce: 0 x, 1 out | 0 operation, 1 outer, 2 length, 3 inner: out[o, i] = x[o, 0, i] ∘ x[o, 1, i] ∘ …
// A unit is a block of up to kBlock inner elements of one outer index.

/** The partial results of the canonical order: element i joins partial i mod 16, then they meet in a fixed tree. */
constexpr uint32_t kPartials = 16;
constexpr uint32_t kBlock = 256;

enum class Reduce : uint32_t { sum, max, min };

Binary binary_of(Reduce operation) {
  return operation == Reduce::sum ? Binary::add : operation == Reduce::max ? Binary::maximum : Binary::minimum;
}
float empty_of(Reduce operation) {
  return operation == Reduce::sum ? 0.0f : operation == Reduce::max ? -__builtin_inff() : __builtin_inff();
}

uint64_t blocks_of(uint64_t inner) { return ceil_div(inner, kBlock); }

const char* describe_reduce(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > double(Reduce::min)) return "an unknown operation";
  const uint64_t outer = call.u32(1), length = call.u32(2), inner = call.u32(3);
  const uint64_t units = product(outer, blocks_of(inner));
  if (units > UINT32_MAX) return "too many results";
  work.units = static_cast<uint32_t>(units);
  work.unit_cost = double(length) * double(inner < kBlock ? inner : kBlock);
  work.scratch_bytes = kPartials * kBlock * sizeof(float);
  work.accesses[0] = reads_all(product(outer, length, inner, kF32));
  work.accesses[1] = writes_all(product(outer, inner, kF32));
  return nullptr;
}

void fill(float* to, float value, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = value;
}

/** Partials of `width` elements meet in the first one. */
void join(const Kernels& kernels, Binary operation, float* partials, size_t width) {
  for (uint32_t half = kPartials / 2; half >= 1; half /= 2)
    kernels.binary(operation, partials, partials + half * width, partials, half * width);
}

void run_reduce(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void* scratch, Failure&) {
  const Reduce operation = static_cast<Reduce>(call.u32(0));
  const Binary step = binary_of(operation);
  const size_t length = call.u32(2), inner = call.u32(3), blocks = blocks_of(inner);
  float* partials = static_cast<float*>(scratch);
  for (uint32_t unit = from; unit < to; unit++) {
    const size_t outer = unit / blocks, first = unit % blocks * kBlock;
    const size_t width = inner - first < kBlock ? inner - first : kBlock;
    const float* x = call.at<const float>(0) + outer * length * inner + first;
    fill(partials, empty_of(operation), static_cast<uint32_t>(kPartials * width));
    if (inner == 1) {
      for (size_t i = 0; i < length; i += kPartials)
        kernels.binary(step, partials, x + i, partials, length - i < kPartials ? length - i : kPartials);
    } else {
      for (size_t i = 0; i < length; i++) {
        float* partial = partials + i % kPartials * width;
        kernels.binary(step, partial, x + i * inner, partial, width);
      }
    }
    join(kernels, step, partials, width);
    __builtin_memcpy(call.at<float>(1) + outer * inner + first, partials, width * sizeof(float));
  }
}

// select: 0 pred, 1 on true, 2 on false, 3 out | 0 element bytes, 1 rows, 2 n.

const char* describe_select(const Call& call, const Kernels&, Work& work) {
  const uint32_t bytes = call.u32(0);
  if (bytes != 1 && bytes != 2 && bytes != 4) return "an element of another size";
  const uint64_t n = call.u32(2);
  work.units = call.u32(1);
  work.unit_cost = 3.0 * double(n);
  work.accesses[0] = reads(work.units, n);
  work.accesses[1] = work.accesses[2] = reads(work.units, n * bytes);
  work.accesses[3] = writes(work.units, n * bytes);
  return nullptr;
}

template <class Element>
void select(const Call& call, size_t from, size_t to) {
  const uint8_t* pred = call.pointers[0];
  const Element *yes = call.at<const Element>(1), *no = call.at<const Element>(2);
  Element* out = call.at<Element>(3);
  // By masks: a choice would stay a branch for each element.
  for (size_t i = from; i < to; i++) {
    const Element mask = static_cast<Element>(pred[i] ? ~Element{0} : 0);
    out[i] = static_cast<Element>((yes[i] & mask) | (no[i] & ~mask));
  }
}

void run_select(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(2);
  if (call.u32(0) == 1) select<uint8_t>(call, from * n, to * n);
  if (call.u32(0) == 2) select<uint16_t>(call, from * n, to * n);
  if (call.u32(0) == 4) select<uint32_t>(call, from * n, to * n);
}

// compare: 0 a, 1 b, 2 out bool | 0 direction, 1 whether the operands are i32, 2 rows, 3 n.

enum class Direction : uint32_t { eq, ne, lt, le, gt, ge };

const char* describe_compare(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > double(Direction::ge) || call.numbers[1] > 1) return "an unknown operation";
  const uint64_t n = call.u32(3);
  work.units = call.u32(2);
  work.unit_cost = 3.0 * double(n);
  work.accesses[0] = work.accesses[1] = reads(work.units, kF32 * n);
  work.accesses[2] = writes(work.units, n);
  return nullptr;
}

template <class Number>
void compare(const Call& call, size_t from, size_t to) {
  const Number *a = call.at<const Number>(0), *b = call.at<const Number>(1);
  uint8_t* out = call.pointers[2];
  switch (static_cast<Direction>(call.u32(0))) {
    case Direction::eq:
      for (size_t i = from; i < to; i++) out[i] = a[i] == b[i];
      break;
    case Direction::ne:
      for (size_t i = from; i < to; i++) out[i] = a[i] != b[i];
      break;
    case Direction::lt:
      for (size_t i = from; i < to; i++) out[i] = a[i] < b[i];
      break;
    case Direction::le:
      for (size_t i = from; i < to; i++) out[i] = a[i] <= b[i];
      break;
    case Direction::gt:
      for (size_t i = from; i < to; i++) out[i] = a[i] > b[i];
      break;
    case Direction::ge:
      for (size_t i = from; i < to; i++) out[i] = a[i] >= b[i];
      break;
  }
}

void run_compare(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t n = call.u32(3);
  if (call.u32(1) != 0)
    compare<int32_t>(call, from * n, to * n);
  else
    compare<float>(call, from * n, to * n);
}

// integer: 0 a, 1 b, 2 out i32 | 0 operation, 1 rows, 2 n. What does not fit wraps; a quotient is truncated, and x / 0 is 0.
// logical: the same of bool. The operations are in the order of `Binary`, and those of `enum class Logical`.

enum class Logical : uint32_t { conjunction, disjunction, negation };

const char* describe_pairs(const Call& call, Work& work, uint64_t element) {
  const uint64_t row = element * call.u32(2);
  work.units = call.u32(1);
  work.unit_cost = double(row);
  work.accesses[0] = work.accesses[1] = reads(work.units, row);
  work.accesses[2] = writes(work.units, row);
  return nullptr;
}

const char* describe_integer(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > double(Binary::minimum)) return "an unknown operation";
  return describe_pairs(call, work, sizeof(int32_t));
}

const char* describe_logical(const Call& call, const Kernels&, Work& work) {
  if (call.numbers[0] > double(Logical::negation)) return "an unknown operation";
  return describe_pairs(call, work, 1);
}

template <class Element, class Operation>
void combine(const Call& call, uint32_t from, uint32_t to, Operation operation) {
  const size_t n = call.u32(2);
  const Element *a = call.at<const Element>(0), *b = call.at<const Element>(1);
  Element* out = call.at<Element>(2);
  for (size_t i = from * n; i < to * n; i++) out[i] = operation(a[i], b[i]);
}

/** Unsigned numbers wrap. */
uint32_t quotient(uint32_t a, uint32_t b) {
  if (b == 0) return 0;
  if (b == UINT32_MAX) return 0 - a;
  return static_cast<uint32_t>(static_cast<int32_t>(a) / static_cast<int32_t>(b));
}

void run_integer(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  switch (static_cast<Binary>(call.u32(0))) {
    case Binary::add: return combine<uint32_t>(call, from, to, [](uint32_t a, uint32_t b) { return a + b; });
    case Binary::subtract: return combine<uint32_t>(call, from, to, [](uint32_t a, uint32_t b) { return a - b; });
    case Binary::multiply: return combine<uint32_t>(call, from, to, [](uint32_t a, uint32_t b) { return a * b; });
    case Binary::divide: return combine<uint32_t>(call, from, to, quotient);
    case Binary::maximum: return combine<int32_t>(call, from, to, [](int32_t a, int32_t b) { return a > b ? a : b; });
    default: return combine<int32_t>(call, from, to, [](int32_t a, int32_t b) { return a < b ? a : b; });
  }
}

void run_logical(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const auto bit = [](bool x) { return static_cast<uint8_t>(x); };
  switch (static_cast<Logical>(call.u32(0))) {
    case Logical::conjunction:
      return combine<uint8_t>(call, from, to, [=](uint8_t a, uint8_t b) { return bit((a != 0) & (b != 0)); });
    case Logical::disjunction:
      return combine<uint8_t>(call, from, to, [=](uint8_t a, uint8_t b) { return bit((a | b) != 0); });
    case Logical::negation: return combine<uint8_t>(call, from, to, [=](uint8_t a, uint8_t) { return bit(a == 0); });
  }
}

// iota: 0 out | 0 whether it is i32, 1 outer, 2 length, 3 inner: out[o, l, i] = l; a unit is an (o, l).

const char* describe_iota(const Call& call, const Kernels&, Work& work) {
  const uint64_t units = product(call.u32(1), call.u32(2)), inner = call.u32(3);
  if (call.numbers[0] > 1 || units > UINT32_MAX) return "too many elements";
  work.units = static_cast<uint32_t>(units);
  work.unit_cost = double(inner);
  work.accesses[0] = writes(units, inner * kF32);
  return nullptr;
}

void run_iota(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const size_t length = call.u32(2), inner = call.u32(3);
  for (uint32_t unit = from; unit < to; unit++) {
    const uint32_t index = static_cast<uint32_t>(unit % length);
    for (size_t i = unit * inner; i < (unit + 1) * inner; i++)
      if (call.u32(0) != 0)
        call.at<uint32_t>(0)[i] = index;
      else
        call.at<float>(0)[i] = static_cast<float>(index);
  }
}

}  // namespace

const Op kReduce{"reduce", 2, 4, 0, 0, 0, describe_reduce, run_reduce};
const Op kSelect{"select", 4, 3, 0, 0, 0, describe_select, run_select};
const Op kCompare{"compare", 3, 4, 0, 0, 0, describe_compare, run_compare};
const Op kInteger{"integer", 3, 3, 0, 0, 0, describe_integer, run_integer};
const Op kLogical{"logical", 3, 3, 0, 0, 0, describe_logical, run_logical};
const Op kIota{"iota", 1, 4, 0, 0, 0, describe_iota, run_iota};

}  // namespace quaver
