#include "runner.h"

#include <atomic>
#include <system_error>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace quaver {

void sleep_while(uint32_t* word, uint32_t value) {
  std::atomic_ref<uint32_t>(*word).wait(value, std::memory_order_seq_cst);
}

void wake_all(uint32_t* word) { std::atomic_ref<uint32_t>(*word).notify_all(); }

void pause_thread() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

namespace {

/** Some tens of microseconds: as long as the pause between two phases of a program or two tokens of a generation. */
constexpr uint32_t kSpins = 2000;

}  // namespace

Runner::Runner(uint32_t threads) : team_(new Team{}) {
  const uint32_t processors = std::thread::hardware_concurrency();
  team_->spins = threads <= processors ? kSpins : 0;
  // Before there is a thread to join: it may throw.
  workers_.reserve(threads);
  master_ = std::thread([this] { run_jobs(); });
  try {
    for (uint32_t i = 1; i < threads; i++) workers_.emplace_back([this, i] { team_work(*team_, i); });
  } catch (const std::system_error&) {
    // The system grants no more threads: the ones that run will do.
  }
}

Runner::~Runner() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    quit_ = true;
    if (running_) __atomic_store_n(&running_->stop, 1, __ATOMIC_RELEASE);
  }
  wake_.notify_one();
  master_.join();
  team_quit(*team_);
  for (std::thread& worker : workers_) worker.join();
}

void Runner::submit(Job job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Runner::run_jobs() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return quit_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    // Whoever waits for a run hears of its end, also of one that does not begin any more.
    if (quit_) __atomic_store_n(&job.program->stop, 1, __ATOMIC_RELEASE);
    running_ = job.program;
    lock.unlock();
    team_run(*team_, *job.program);
    lock.lock();
    running_ = nullptr;
    lock.unlock();
    job.done();
    // What the job kept alive is given back outside of the lock.
    job = {};
    lock.lock();
  }
}

}  // namespace quaver
