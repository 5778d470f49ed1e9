// Memory that JavaScript sees as ArrayBuffers and programs see as blocks. It lives as long as either needs it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace quaver {

/** Zero-filled, aligned to 64 bytes; large ones to huge pages where the system has them. */
class Memory {
 public:
  /** Null when the system has no more. */
  static std::shared_ptr<Memory> allocate(uint64_t bytes);
  /** A part of another memory, which lives as long. */
  static std::shared_ptr<Memory> part(const std::shared_ptr<Memory>& whole, uint64_t offset, uint64_t bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Memory(void* start, uint64_t mapped_bytes, uint8_t* data, uint64_t bytes)
      : start_(start), mapped_bytes_(mapped_bytes), data_(data), bytes_(bytes) {}
  std::shared_ptr<Memory> whole_;
  void* start_;
  /** What was mapped from the system; 0: it came from the heap. */
  uint64_t mapped_bytes_;
  uint8_t* data_;
  uint64_t bytes_;
};

/**
 * Lasting memory of middling size, such as the packed weights of a layer, side by side in large pieces: read as a stream, pages
 * of 2 MiB are a quarter faster than the usual ones, and a piece of less cannot have them.
 */
class Slabs {
 public:
  std::shared_ptr<Memory> allocate(uint64_t bytes);

 private:
  std::shared_ptr<Memory> slab_;
  uint64_t used_ = 0;
};

/** Finds memory again by the address that an ArrayBuffer has: no other address reaches a kernel. */
class MemoryTable {
 public:
  void add(const std::shared_ptr<Memory>& memory);
  void remove(const Memory& memory);
  std::shared_ptr<Memory> find(const void* data, uint64_t bytes);

 private:
  std::mutex mutex_;
  std::map<const void*, std::weak_ptr<Memory>> known_;
};

}  // namespace quaver
