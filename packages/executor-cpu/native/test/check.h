// What the tests of the native engine share: random numbers, a count of what passed, and a watch over hangs.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace quaver::test {

/** splitmix64: the same numbers on every machine. */
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  /** From 0 to bound - 1. */
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(next() % bound); }
  uint32_t from_to(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
  bool one_in(uint32_t count) { return below(count) == 0; }
  /** From -1 to 1. */
  double unit() { return static_cast<double>(static_cast<int64_t>(next())) * 0x1p-63; }

 private:
  uint64_t state_;
};

/** Ends the process with a message: later tests would only repeat it. */
[[noreturn]] void fail(const std::string& message);

/** Runs a test that says how many cases it had. */
void test(const char* name, const std::function<uint32_t()>& body);

/** Says that things go on. A process that says nothing for a minute has hung, and is ended with what it did last. */
void alive(const std::string& doing);

/** Tests that passed. */
uint32_t passed();

/** How much to do, 1 for a quick run: QUAVER_TEST_EFFORT. */
double effort();

}  // namespace quaver::test
