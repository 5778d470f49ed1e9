// What a program knows about one kind of instruction: its arguments, the memory it touches, and how its work splits.
#pragma once
#include "../kernels.h"

namespace quaver {

constexpr uint32_t kMaxPointers = 11;
constexpr uint32_t kMaxNumbers = 24;

/** One instruction at concrete addresses. Absent pointers are null. */
struct Call {
  const struct Op* op;
  uint8_t* pointers[kMaxPointers];
  double numbers[kMaxNumbers];
  uint8_t pointer_count, number_count;

  template <class T>
  T* at(uint32_t i) const {
    return reinterpret_cast<T*>(pointers[i]);
  }
  /** Integers were checked to be exact and to fit before any kernel sees them. */
  uint32_t u32(uint32_t i) const { return static_cast<uint32_t>(numbers[i]); }
  size_t size(uint32_t i) const { return static_cast<size_t>(numbers[i]); }
};

/** The bytes that an instruction reads or writes behind one pointer. */
struct Access {
  /** From the pointer on; what bounds are checked with. */
  uint64_t bytes = 0;
  /** Unit u touches [u · unit_bytes, (u + 1) · unit_bytes) and nothing else; 0: any unit may touch everything. */
  uint64_t unit_bytes = 0;
  bool writes = false;
};

/** How the work of one call splits. Every unit may run on any thread, at any time, in any order. */
struct Work {
  uint32_t units = 0;
  /** Units are handed out in multiples of this. */
  uint32_t grain = 1;
  /** Rough cost of one unit in f32 operations or bytes, whichever is more. */
  double unit_cost = 1;
  size_t scratch_bytes = 0;
  Access accesses[kMaxPointers];
};

/** An error that depends on data: an index out of its range. */
struct Failure {
  uint32_t instruction;
  /** Which index, what it was, and the first value that is too large. */
  int64_t position, found, limit;
  /** 0: none. */
  uint32_t code;
};

enum FailureCode : uint32_t { kNoFailure = 0, kIndexOutOfRange = 1 };

struct Op {
  const char* name;
  uint8_t pointers, numbers;
  /** Bit i: pointer i may be absent. */
  uint32_t optional;
  /** Bit i: number i need not be an integer. */
  uint32_t fractions;
  /** Bit i: number i may be as large as an address. The others fit 32 bits. */
  uint32_t wide;
  /** Fills `work`, or says what is wrong with the arguments. Called before anything runs. */
  const char* (*describe)(const Call&, const Kernels&, Work& work);
  void (*run)(const Call&, const Kernels&, uint32_t from, uint32_t to, void* scratch, Failure&);
};

/** All ops; an op's code in an image is its index here, and the host asks for the names. */
extern const Op* const kOps[];
extern const uint32_t kOpCount;

/** The product of sizes, saturating: what does not fit is larger than any buffer. */
inline uint64_t product(uint64_t a, uint64_t b) {
  // By halves: WebAssembly has no product of 128 bits.
  const uint64_t a_high = a >> 32, b_high = b >> 32, a_low = a & UINT32_MAX, b_low = b & UINT32_MAX;
  const uint64_t middle = a_high * b_low + b_high * a_low;
  if ((a_high != 0 && b_high != 0) || middle > UINT32_MAX) return UINT64_MAX;
  uint64_t result;
  return __builtin_add_overflow(middle << 32, a_low * b_low, &result) ? UINT64_MAX : result;
}
template <class... Rest>
inline uint64_t product(uint64_t a, uint64_t b, Rest... rest) {
  return product(product(a, b), rest...);
}
inline uint64_t sum(uint64_t a, uint64_t b) {
  uint64_t result;
  return __builtin_add_overflow(a, b, &result) ? UINT64_MAX : result;
}
inline uint64_t ceil_div(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/** Sides of matrices are no longer: padded and rounded up, they still fit 32 bits. */
constexpr uint32_t kGreatestSide = uint32_t{1} << 28;

/** Padded and packed, a matrix of this size still has a byte count: the kernels compute it without looking. */
inline bool has_size(uint64_t rows, uint64_t columns) {
  return rows <= kGreatestSide && columns <= kGreatestSide &&
         product(sum(rows, 1024), sum(columns, 1024), sizeof(float)) < SIZE_MAX / 2;
}
constexpr const char* kTooLarge = "a matrix too large to address";

/** A tensor of `units` rows of `unit_bytes`. */
inline Access reads(uint64_t units, uint64_t unit_bytes) { return {product(units, unit_bytes), unit_bytes, false}; }
inline Access writes(uint64_t units, uint64_t unit_bytes) { return {product(units, unit_bytes), unit_bytes, true}; }
inline Access reads_all(uint64_t bytes) { return {bytes, 0, false}; }
inline Access writes_all(uint64_t bytes) { return {bytes, 0, true}; }

}  // namespace quaver
