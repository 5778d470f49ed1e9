#include "memory.h"

#include <cstdlib>
#if defined(__linux__) || defined(__APPLE__)
#define QUAVER_MMAP 1
#include <sys/mman.h>
#endif

namespace quaver {
namespace {

constexpr uint64_t kLine = 64;
/** From here on memory comes from the system in pages that are zero, cost nothing until they are touched, and go back to it
 * when they are released: weights are packed and unpacked copies dropped one after the other, which leaves holes in a heap. */
constexpr uint64_t kPages = uint64_t{64} << 10;
/** Weights this large are read as a stream: with pages of 2 MiB the processor looks up fewer addresses. */
constexpr uint64_t kHugePage = uint64_t{2} << 20;

uint64_t aligned_up(uint64_t value, uint64_t alignment) { return (value + alignment - 1) / alignment * alignment; }

}  // namespace

std::shared_ptr<Memory> Memory::allocate(uint64_t bytes) {
  const uint64_t alignment = bytes >= 2 * kHugePage ? kHugePage : kLine;
  if (bytes > SIZE_MAX - 2 * alignment) return nullptr;
  const uint64_t taken = bytes + alignment;
#ifdef QUAVER_MMAP
  const bool mapped = bytes >= kPages;
  void* start = mapped ? mmap(nullptr, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0)
                       : std::calloc(1, static_cast<size_t>(taken));
  if (mapped && start == MAP_FAILED) return nullptr;
#else
  const bool mapped = false;
  void* start = std::calloc(1, static_cast<size_t>(taken));
#endif
  if (!start) return nullptr;
  const uint64_t address = aligned_up(reinterpret_cast<uintptr_t>(start), alignment);
#if defined(__linux__)
  if (alignment == kHugePage)
    madvise(reinterpret_cast<void*>(address), static_cast<size_t>(bytes / kHugePage * kHugePage), MADV_HUGEPAGE);
#endif
  uint8_t* data = reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address));
  return std::shared_ptr<Memory>(new Memory(start, mapped ? taken : 0, data, bytes));
}

std::shared_ptr<Memory> Memory::part(const std::shared_ptr<Memory>& whole, uint64_t offset, uint64_t bytes) {
  auto part = std::shared_ptr<Memory>(new Memory(nullptr, 0, whole->data_ + offset, bytes));
  part->whole_ = whole;
  return part;
}

std::shared_ptr<Memory> Slabs::allocate(uint64_t bytes) {
  constexpr uint64_t slab_bytes = 16 * kHugePage;
  if (bytes < kLine || bytes > slab_bytes / 4) return Memory::allocate(bytes);
  if (!slab_ || used_ + bytes > slab_->bytes()) {
    slab_ = Memory::allocate(slab_bytes);
    used_ = 0;
    if (!slab_) return Memory::allocate(bytes);
  }
  const uint64_t offset = used_;
  used_ = aligned_up(used_ + bytes, kLine);
  return Memory::part(slab_, offset, bytes);
}

Memory::~Memory() {
  if (whole_) return;
#ifdef QUAVER_MMAP
  if (mapped_bytes_ > 0) {
    munmap(start_, static_cast<size_t>(mapped_bytes_));
    return;
  }
#endif
  std::free(start_);
}

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
