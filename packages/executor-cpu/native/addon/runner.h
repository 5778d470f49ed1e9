// Programs waiting for their turn, the thread that runs them one after the other, and the workers that help it.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../program/team.h"

namespace quaver {

class Runner {
 public:
  /** Starts `threads` threads, or as many of them as the system grants; throws std::system_error when it grants none. */
  explicit Runner(uint32_t threads);
  /** Stops the program that runs and those that wait, and joins the threads. */
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  uint32_t threads() const { return static_cast<uint32_t>(workers_.size()) + 1; }

  struct Job {
    Program* program;
    /** Called on the runner's thread when the program has ended; also keeps alive what the program needs. */
    std::function<void()> done;
  };
  void submit(Job job);

 private:
  void run_jobs();

  std::unique_ptr<Team> team_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  Program* running_ = nullptr;
  bool quit_ = false;
  std::thread master_;
};

}  // namespace quaver
