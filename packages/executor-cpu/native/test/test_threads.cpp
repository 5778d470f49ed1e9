// Threads that begin, meet, sleep, stop and end at the worst moments.
#include <atomic>
#include <chrono>
#include <cstring>

#include "../addon/isa.h"
#include "scenario.h"
#include "tests.h"

namespace quaver::test {
namespace {

const Kernels& any_kernels() { return *kernels_of_this_processor().front(); }

/**
 * Many phases, each just worth sharing: numbers are copied back and forth between two buffers, a cache line further each time,
 * so that no thread may begin a phase before all have ended the one before.
 */
class PingPong {
 public:
  explicit PingPong(uint32_t threads, uint32_t phases) : phases_(phases), a_(kBytes), b_(kBytes) {
    uint32_t copy = 0;
    while (std::strcmp(kOps[copy]->name, "copy") != 0) copy++;
    std::vector<double> image{static_cast<double>(phases)};
    for (uint32_t i = 0; i < phases; i++) {
      const double from = i % 2, to = 1 - from;
      image.insert(image.end(), {double(copy), from, 64.0 * i, to, 64.0 * (i + 1), kRows, kColumns * sizeof(float)});
    }
    loaded_ = load(any_kernels(), threads, image, {{a_.data(), a_.bytes()}, {b_.data(), b_.bytes()}});
    if (loaded_->error.reason) fail(loaded_->error.reason);
    if (loaded_->program.phase_count != phases) fail("phases were merged");
    if (threads > 1 && !loaded_->program.phases[0].parallel) fail("phases are not shared");
  }

  Program& program() { return loaded_->program; }

  void fill(float value) {
    float* x = reinterpret_cast<float*>(a_.data());
    for (uint32_t i = 0; i < kNumbers; i++) x[i] = value + static_cast<float>(i);
    loaded_->program.stop = 0;
  }

  void check(float value) const {
    const float* x = reinterpret_cast<const float*>((phases_ % 2 == 0 ? a_ : b_).data() + 64 * phases_);
    for (uint32_t i = 0; i < kNumbers; i++)
      if (x[i] != value + static_cast<float>(i)) fail("a thread ran ahead of the others: number " + std::to_string(i));
  }

 private:
  static constexpr uint32_t kRows = 64, kColumns = 512, kNumbers = kRows * kColumns, kMostPhases = 64;
  static constexpr uint64_t kBytes = kNumbers * sizeof(float) + 64 * (kMostPhases + 1);
  uint32_t phases_;
  Exact a_, b_;
  std::unique_ptr<Loaded> loaded_;
};

void pause(Random& random, uint32_t most_microseconds) {
  const uint32_t length = random.below(most_microseconds + 1);
  if (length > 0) std::this_thread::sleep_for(std::chrono::microseconds(length));
}

constexpr uint32_t kThreads[] = {1, 2, 3, 8, 32};

std::string with(uint32_t threads, uint32_t run) {
  return std::to_string(threads) + " threads, run " + std::to_string(run);
}

uint32_t every_phase_is_whole() {
  uint32_t cases = 0;
  Random random(3);
  for (const uint32_t threads : kThreads) {
    Runner runner(threads);
    PingPong work(threads, 24);
    const uint32_t runs = static_cast<uint32_t>((threads > 8 ? 60 : 250) * effort());
    for (uint32_t run = 0; run < runs; run++, cases++) {
      alive(with(threads, run));
      work.fill(static_cast<float>(run));
      run_and_wait(runner, work.program());
      work.check(static_cast<float>(run));
      // Long enough for workers to fall asleep, now and then.
      if (random.one_in(8)) pause(random, 300);
    }
  }
  return cases;
}

uint32_t stops_at_any_time() {
  uint32_t cases = 0;
  Random random(4);
  for (const uint32_t threads : kThreads) {
    Runner runner(threads);
    PingPong work(threads, 60);
    const uint32_t runs = static_cast<uint32_t>((threads > 8 ? 40 : 150) * effort());
    for (uint32_t run = 0; run < runs; run++, cases++) {
      alive(with(threads, run));
      work.fill(1);
      std::atomic<bool> ended{false};
      runner.submit({&work.program(), [&ended] { ended = true; }});
      pause(random, 400);
      __atomic_store_n(&work.program().stop, 1, __ATOMIC_RELEASE);
      while (!ended) std::this_thread::yield();
      // After a stop the next run is whole.
      work.fill(static_cast<float>(run));
      run_and_wait(runner, work.program());
      work.check(static_cast<float>(run));
    }
  }
  return cases;
}

uint32_t begins_and_ends_at_any_time() {
  uint32_t cases = 0;
  Random random(5);
  for (const uint32_t threads : kThreads) {
    const uint32_t runs = static_cast<uint32_t>((threads > 8 ? 20 : 120) * effort());
    for (uint32_t run = 0; run < runs; run++, cases++) {
      alive(with(threads, run));
      PingPong first(threads, 30), second(threads, 30);
      first.fill(1);
      second.fill(2);
      std::atomic<uint32_t> ended{0};
      const uint32_t jobs = random.below(3);
      {
        Runner runner(threads);
        if (jobs > 0) runner.submit({&first.program(), [&ended] { ended++; }});
        if (jobs > 1) runner.submit({&second.program(), [&ended] { ended++; }});
        if (random.one_in(2)) pause(random, 500);
      }
      if (ended != jobs) fail("a run that was submitted never ended");
    }
  }
  return cases;
}

uint32_t submissions_from_many_threads() {
  uint32_t cases = 0;
  for (const uint32_t threads : kThreads) {
    alive(with(threads, 0));
    Runner runner(threads);
    std::vector<std::thread> callers;
    const uint32_t runs = static_cast<uint32_t>(20 * effort());
    for (uint32_t caller = 0; caller < 4; caller++)
      callers.emplace_back([&runner, threads, runs, caller] {
        PingPong work(threads, 10);
        for (uint32_t run = 0; run < runs; run++) {
          work.fill(static_cast<float>(caller));
          run_and_wait(runner, work.program());
          work.check(static_cast<float>(caller));
        }
      });
    for (std::thread& caller : callers) caller.join();
    cases += 4 * runs;
  }
  return cases;
}

}  // namespace

void test_threads() {
  test("no thread begins a phase before all have ended the one before", every_phase_is_whole);
  test("a run that is stopped ends, and the next one is whole", stops_at_any_time);
  test("an engine ends at any time, and every run that was submitted with it", begins_and_ends_at_any_time);
  test("programs of many threads take turns", submissions_from_many_threads);
}

}  // namespace quaver::test
