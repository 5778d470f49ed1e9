#include "memory.h"

#include <cstdlib>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace quaver {
namespace {

constexpr uint64_t kLine = 64;
/** Weights this large are read as a stream: with pages of 2 MiB the processor looks up fewer addresses. */
constexpr uint64_t kHugePage = uint64_t{2} << 20;

}  // namespace

std::shared_ptr<Memory> Memory::allocate(uint64_t bytes) {
  const uint64_t alignment = bytes >= 2 * kHugePage ? kHugePage : kLine;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  // calloc takes large pieces from the system as pages that are zero already and cost nothing until they are touched.
  void* start = std::calloc(1, static_cast<size_t>(bytes + alignment));
  if (!start) return nullptr;
  const uintptr_t address = (reinterpret_cast<uintptr_t>(start) + alignment - 1) / alignment * alignment;
#if defined(__linux__)
  if (alignment == kHugePage)
    madvise(reinterpret_cast<void*>(address), static_cast<size_t>(bytes / kHugePage * kHugePage), MADV_HUGEPAGE);
#endif
  return std::shared_ptr<Memory>(new Memory(start, reinterpret_cast<uint8_t*>(address), bytes));
}

Memory::~Memory() { std::free(start_); }

void MemoryTable::add(const std::shared_ptr<Memory>& memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  known_[memory->data()] = memory;
}

void MemoryTable::remove(const Memory& memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  known_.erase(memory.data());
}

std::shared_ptr<Memory> MemoryTable::find(const void* data, uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = known_.find(data);
  const std::shared_ptr<Memory> memory = found == known_.end() ? nullptr : found->second.lock();
  return memory && memory->bytes() == bytes ? memory : nullptr;
}

}  // namespace quaver
