#include "check.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace quaver::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLongestSilence = std::chrono::seconds(120);

uint32_t tests_passed = 0;
const char* test_name = "";

std::mutex mutex;
Clock::time_point last_sign;
std::string last_doing;

void watch() {
  std::thread([] {
    for (;;) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      const std::lock_guard<std::mutex> lock(mutex);
      if (Clock::now() - last_sign < kLongestSilence) continue;
      std::fprintf(stderr, "✗ %s hangs: %s\n", test_name, last_doing.c_str());
      std::_Exit(1);
    }
  }).detach();
}

}  // namespace

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void fail(const std::string& message) {
  std::fprintf(stderr, "✗ %s: %s\n", test_name, message.c_str());
  std::exit(1);
}

void alive(const std::string& doing) {
  const std::lock_guard<std::mutex> lock(mutex);
  last_sign = Clock::now();
  last_doing = doing;
}

void test(const char* name, const std::function<uint32_t()>& body) {
  test_name = name;
  alive("begins");
  static const bool watched = (watch(), true);
  (void)watched;
  const Clock::time_point started = Clock::now();
  const uint32_t cases = body();
  tests_passed++;
  std::printf("✓ %s (%u cases, %.1f s)\n", name, cases, std::chrono::duration<double>(Clock::now() - started).count());
  std::fflush(stdout);
}

uint32_t passed() { return tests_passed; }

double effort() {
  const char* text = std::getenv("QUAVER_TEST_EFFORT");
  const double wanted = text ? std::atof(text) : 1;
  return wanted > 0 ? wanted : 1;
}

}  // namespace quaver::test
