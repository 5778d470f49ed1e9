// What JavaScript holds: engines and programs, behind objects with a type tag.
#pragma once
#define NAPI_VERSION 8
#include <node_api.h>

#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "memory.h"
#include "runner.h"

namespace quaver {

struct LoadedProgram;

struct Engine : std::enable_shared_from_this<Engine> {
  const Kernels& kernels;
  std::shared_ptr<MemoryTable> memories = std::make_shared<MemoryTable>();
  Slabs slabs;
  std::unique_ptr<Runner> runner;
  /** Brings the end of a run back to JavaScript's thread. */
  napi_threadsafe_function ended = nullptr;
  uint32_t runs = 0;
  napi_env env;

  /** Throws std::system_error when the system grants no thread. */
  Engine(napi_env env, const Kernels& kernels, uint32_t threads);
  ~Engine();

  /** Stops what runs and joins the threads; also when the environment ends (a worker that is terminated). */
  void close();
  napi_value allocate(napi_env env, uint64_t bytes, bool lasting);
  /** Throws into JavaScript, and is null, when the value is no ArrayBuffer of this engine. */
  std::shared_ptr<Memory> memory_of(napi_env env, napi_value buffer);
  void run(napi_env env, const std::shared_ptr<LoadedProgram>& program, napi_value done);
};

struct LoadedProgram {
  std::shared_ptr<Engine> engine;
  Program program{};
  std::shared_ptr<Memory> memory, scratch;
  std::vector<std::shared_ptr<Memory>> blocks;
  std::vector<double> seconds;
};

/** Throws an Error with a `code`; returns null for callers to return. */
napi_value throw_error(napi_env env, const char* code, const char* message);

/** Runs the body of a callback; what C++ throws becomes an Error. */
template <napi_value (*Body)(napi_env, napi_callback_info)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return Body(env, info);
  } catch (const std::bad_alloc&) {
    return throw_error(env, "out-of-memory", "no memory for the call");
  } catch (const std::exception& error) {
    return throw_error(env, "native-failure", error.what());
  }
}

napi_value load_image(napi_env env, Engine& engine, const std::vector<double>& image,
                      const std::vector<napi_value>& buffers, bool profile);
napi_value wrap_engine(napi_env env, const std::shared_ptr<Engine>& engine);

napi_value to_number(napi_env env, double number);
napi_value to_array(napi_env env, const std::vector<std::string>& texts);
napi_value to_array(napi_env env, const std::vector<double>& numbers);

/** The arguments of one call. What is missing or of another type throws, and `ok` is false from then on. */
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info, size_t count);
  bool ok() const { return ok_; }
  napi_value value(size_t i) const { return values_[i]; }
  std::string text(size_t i);
  uint32_t integer(size_t i, uint32_t least, uint32_t greatest);
  /** A byte count: an integer below 2^53. */
  double size(size_t i);
  bool flag(size_t i);
  std::vector<double> doubles(size_t i);
  std::vector<napi_value> list(size_t i);
  napi_value function(size_t i);
  /** Null when it is another object or was closed. */
  Engine* engine(size_t i);
  LoadedProgram* program(size_t i) { return shared_program(i).get(); }
  std::shared_ptr<LoadedProgram> shared_program(size_t i);
  void drop_program(size_t i);

 private:
  void fail(size_t i, const char* expected);
  void* unwrap(size_t i, const napi_type_tag& tag, const char* expected);

  napi_env env_;
  std::vector<napi_value> values_;
  bool ok_ = true;
};

}  // namespace quaver
