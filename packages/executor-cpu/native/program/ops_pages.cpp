// Writing into caches that are in pages.
#include "ops_pages.h"

namespace quaver {
namespace {

// update_pages: 0 cache, 1 update, 2 pages, 3 position, 4 out | 0 pages of the cache, 1 slots of a page, 2 rows,
// 3 tokens of a row, 4 pages of a row, 5 bytes of a slot. Unit u has every page p with p mod units = u: it goes through all tokens in
// order and writes those of its pages, so that of two for one slot the later stays, whoever runs the units.

constexpr uint32_t kMostUnits = 16;

uint32_t units_of(const Call& call) {
  const uint32_t pages = call.u32(0);
  return pages < kMostUnits ? pages : kMostUnits;
}
bool in_place(const Call& call) { return call.pointers[0] == call.pointers[4]; }

const char* describe_update_pages(const Call& call, const Kernels&, Work& work) {
  const uint64_t slot = call.u32(5), whole = product(call.u32(0), call.u32(1), slot);
  const uint64_t tokens = product(call.u32(2), call.u32(3)), update = product(tokens, slot);
  work.units = units_of(call);
  work.unit_cost = work.units == 0 ? 1 : double(in_place(call) ? update : whole) / work.units / 4 + double(tokens);
  work.accesses[0] = reads_all(whole);
  work.accesses[1] = reads_all(update);
  work.accesses[2] = reads_all(product(call.u32(2), call.u32(4), sizeof(int32_t)));
  work.accesses[3] = reads_all(product(call.u32(2), sizeof(int32_t)));
  work.accesses[4] = writes_all(whole);
  return nullptr;
}

/** Where a token goes: its slot, counted over all pages; less than 0 where it goes nowhere. The page is read once: whoever
 * shares the memory may change it at any time. */
int64_t slot_of(const Call& call, uint32_t row, int64_t place) {
  const int64_t slots = call.u32(1), columns = call.u32(4);
  if (place < 0 || place >= columns * slots) return -1;
  const int64_t page = __atomic_load_n(call.at<const int32_t>(2) + row * columns + place / slots, __ATOMIC_RELAXED);
  return page >= 0 && page < call.u32(0) ? page * slots + place % slots : -1;
}

void run_update_pages(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const uint32_t units = units_of(call), rows = call.u32(2), tokens = call.u32(3);
  const size_t slots = call.u32(1), bytes = call.u32(5), page_bytes = slots * bytes;
  if (!in_place(call))
    for (size_t page = 0; page < call.u32(0); page++)
      if (page % units >= from && page % units < to)
        __builtin_memcpy(call.pointers[4] + page * page_bytes, call.pointers[0] + page * page_bytes, page_bytes);
  for (uint32_t row = 0; row < rows; row++) {
    const int64_t position = __atomic_load_n(call.at<const int32_t>(3) + row, __ATOMIC_RELAXED);
    for (uint32_t token = 0; token < tokens; token++) {
      const int64_t slot = slot_of(call, row, position + token);
      if (slot < 0) continue;
      const size_t unit = static_cast<size_t>(slot) / slots % units;
      if (unit < from || unit >= to) continue;
      const size_t source = (size_t{row} * tokens + token) * bytes;
      __builtin_memcpy(call.pointers[4] + static_cast<size_t>(slot) * bytes, call.pointers[1] + source, bytes);
    }
  }
}

}  // namespace

const Op kUpdatePages{"update_pages", 5, 6, 0, 0, 0, describe_update_pages, run_update_pages};

}  // namespace quaver
