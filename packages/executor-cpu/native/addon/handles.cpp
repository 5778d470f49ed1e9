#include "handles.h"

#include <stdexcept>

namespace quaver {
namespace {

constexpr napi_type_tag kEngineTag{0x5175617665720001, 0x9d1c5be2a6f44c07};
constexpr napi_type_tag kProgramTag{0x5175617665720002, 0x4be8f3c02d6a9f15};
constexpr double kGreatestSize = 9007199254740991.0;

/** A run that ended, on its way to JavaScript. */
struct Ended {
  std::shared_ptr<LoadedProgram> program;
  napi_ref callback;
};

template <class T>
napi_value wrap(napi_env env, const std::shared_ptr<T>& shared, const napi_type_tag& tag) {
  napi_value object;
  auto* holder = new std::shared_ptr<T>(shared);
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<T>*>(data); };
  if (napi_create_object(env, &object) != napi_ok ||
      napi_wrap(env, object, holder, finalize, nullptr, nullptr) != napi_ok) {
    delete holder;
    return throw_error(env, "handle", "JavaScript cannot hold the handle");
  }
  napi_type_tag_object(env, object, &tag);
  return object;
}

napi_value failure_of(napi_env env, const Program& program) {
  napi_value result;
  const Failure& failure = program.failure;
  if (failure.code != kNoFailure)
    return to_array(env, std::vector<double>{double(failure.code), double(failure.instruction),
                                             double(failure.position), double(failure.found), double(failure.limit)});
  if (program.stop)
    napi_get_null(env, &result);
  else
    napi_get_undefined(env, &result);
  return result;
}

/** On JavaScript's thread, when a run has ended. */
void deliver(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Ended> ended(static_cast<Ended*>(data));
  if (!env) return;
  Engine* engine = static_cast<Engine*>(context);
  if (--engine->runs == 0 && engine->ended) napi_unref_threadsafe_function(env, engine->ended);
  napi_value callback, receiver, argument = failure_of(env, ended->program->program);
  napi_get_reference_value(env, ended->callback, &callback);
  napi_delete_reference(env, ended->callback);
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, callback, 1, &argument, nullptr);
}

/** Threads must not outlive the environment: they would call into it, and its memory and this library may be gone. */
void end_with_environment(void* engine) { static_cast<Engine*>(engine)->close(); }

}  // namespace

Engine::Engine(napi_env of_env, const Kernels& of, uint32_t threads) : kernels(of), runner(new Runner(threads)), env(of_env) {
  napi_value name;
  napi_create_string_utf8(env, "quaver run", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &ended) != napi_ok)
    throw std::runtime_error("JavaScript gives no way back to its thread");
  // Nothing runs yet: the engine alone does not keep the process alive.
  napi_unref_threadsafe_function(env, ended);
  napi_add_env_cleanup_hook(env, end_with_environment, this);
}

Engine::~Engine() { close(); }

void Engine::close() {
  if (!runner) return;
  napi_remove_env_cleanup_hook(env, end_with_environment, this);
  runner.reset();
  // What ended is delivered first; while the environment ends it is dropped.
  napi_release_threadsafe_function(ended, napi_tsfn_release);
  ended = nullptr;
}

napi_value Engine::allocate(napi_env env, uint64_t bytes, bool lasting) {
  // An ArrayBuffer of no bytes has no address to find it by.
  const uint64_t least = bytes == 0 ? 64 : bytes;
  const std::shared_ptr<Memory> memory = lasting ? slabs.allocate(least) : Memory::allocate(least);
  napi_value result;
  if (!memory) {
    napi_get_null(env, &result);
    return result;
  }
  struct Seen {
    std::shared_ptr<Memory> memory;
    std::shared_ptr<MemoryTable> table;
  };
  memories->add(memory);
  auto* seen = new Seen{memory, memories};
  const auto finalize = [](napi_env, void*, void* hint) {
    Seen* gone = static_cast<Seen*>(hint);
    gone->table->remove(*gone->memory);
    delete gone;
  };
  const napi_status status = napi_create_external_arraybuffer(env, memory->data(), static_cast<size_t>(memory->bytes()),
                                                              finalize, seen, &result);
  if (status == napi_ok) return result;
  memories->remove(*memory);
  delete seen;
  return throw_error(env, "external-memory", "this JavaScript engine cannot see memory from outside");
}

std::shared_ptr<Memory> Engine::memory_of(napi_env env, napi_value buffer) {
  bool is_buffer = false;
  void* data = nullptr;
  size_t bytes = 0;
  if (napi_is_arraybuffer(env, buffer, &is_buffer) == napi_ok && is_buffer)
    napi_get_arraybuffer_info(env, buffer, &data, &bytes);
  std::shared_ptr<Memory> memory = data ? memories->find(data, bytes) : nullptr;
  if (!memory) throw_error(env, "buffer-foreign", "a buffer was not allocated here, or was released");
  return memory;
}

void Engine::run(napi_env env, const std::shared_ptr<LoadedProgram>& program, napi_value done) {
  if (!runner) {
    throw_error(env, "engine-closed", "the engine was closed");
    return;
  }
  auto* end = new Ended{program, nullptr};
  napi_create_reference(env, done, 1, &end->callback);
  if (runs++ == 0) napi_ref_threadsafe_function(env, ended);
  __atomic_store_n(&program->program.stop, 0, __ATOMIC_RELEASE);
  const napi_threadsafe_function function = ended;
  runner->submit({&program->program, [function, end] {
                    napi_call_threadsafe_function(function, end, napi_tsfn_nonblocking);
                  }});
}

napi_value load_image(napi_env env, Engine& engine, const std::vector<double>& image,
                      const std::vector<napi_value>& buffers, bool profile) {
  auto loaded = std::make_shared<LoadedProgram>();
  std::vector<Block> blocks;
  for (const napi_value buffer : buffers) {
    const std::shared_ptr<Memory> memory = engine.memory_of(env, buffer);
    if (!memory) return nullptr;
    loaded->blocks.push_back(memory);
    blocks.push_back({memory->data(), memory->bytes()});
  }
  if (!engine.runner) return throw_error(env, "engine-closed", "the engine was closed");
  const uint32_t count = instructions_of(image.data(), image.size());
  loaded->memory = Memory::allocate(program_bytes(count));
  if (!loaded->memory) return throw_error(env, "out-of-memory", "no memory for the program");
  const uint32_t threads = engine.runner->threads();
  const LoadError error = load_program(loaded->program, loaded->memory->data(), engine.kernels, threads, image.data(),
                                       image.size(), blocks.data(), static_cast<uint32_t>(blocks.size()));
  if (error.reason) {
    const Op* op = error.instruction < count ? loaded->program.instructions[error.instruction].call.op : nullptr;
    const std::string where = "instruction " + std::to_string(error.instruction) + (op ? std::string(" (") + op->name + ")" : "");
    return throw_error(env, "kernel-argument", (where + ": " + error.reason).c_str());
  }
  loaded->scratch = Memory::allocate(uint64_t{loaded->program.scratch_bytes} * threads + 64);
  if (!loaded->scratch) return throw_error(env, "out-of-memory", "no memory for the program's scratch");
  loaded->program.scratch = loaded->scratch->data();
  if (profile) {
    loaded->seconds.resize(count);
    loaded->program.seconds = loaded->seconds.data();
    loaded->program.clock = [] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    };
  }
  loaded->engine = engine.shared_from_this();
  return wrap(env, loaded, kProgramTag);
}

napi_value wrap_engine(napi_env env, const std::shared_ptr<Engine>& engine) { return wrap(env, engine, kEngineTag); }

napi_value throw_error(napi_env env, const char* code, const char* message) {
  napi_throw_error(env, code, message);
  return nullptr;
}

napi_value to_number(napi_env env, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  return value;
}

napi_value to_array(napi_env env, const std::vector<std::string>& texts) {
  napi_value array;
  napi_create_array_with_length(env, texts.size(), &array);
  for (size_t i = 0; i < texts.size(); i++) {
    napi_value text;
    napi_create_string_utf8(env, texts[i].c_str(), texts[i].size(), &text);
    napi_set_element(env, array, static_cast<uint32_t>(i), text);
  }
  return array;
}

napi_value to_array(napi_env env, const std::vector<double>& numbers) {
  napi_value array;
  napi_create_array_with_length(env, numbers.size(), &array);
  for (size_t i = 0; i < numbers.size(); i++)
    napi_set_element(env, array, static_cast<uint32_t>(i), to_number(env, numbers[i]));
  return array;
}

Arguments::Arguments(napi_env env, napi_callback_info info, size_t count) : env_(env), values_(count) {
  size_t found = count;
  napi_get_cb_info(env, info, &found, values_.data(), nullptr, nullptr);
}

void Arguments::fail(size_t i, const char* expected) {
  // One exception at a time: the first problem is the one to tell.
  if (ok_) throw_error(env_, "kernel-argument", ("argument " + std::to_string(i) + ": expected " + expected).c_str());
  ok_ = false;
}

std::string Arguments::text(size_t i) {
  char text[64];
  size_t length = 0;
  if (napi_get_value_string_utf8(env_, values_[i], text, sizeof text, &length) != napi_ok) {
    fail(i, "a text");
    return "";
  }
  return std::string(text, length);
}

uint32_t Arguments::integer(size_t i, uint32_t least, uint32_t greatest) {
  const double number = size(i);
  if (ok_ && !(number >= least && number <= greatest)) fail(i, "an integer within its range");
  return ok_ ? static_cast<uint32_t>(number) : least;
}

double Arguments::size(size_t i) {
  double number = 0;
  if (napi_get_value_double(env_, values_[i], &number) != napi_ok || !(number >= 0 && number <= kGreatestSize) ||
      number != __builtin_trunc(number)) {
    fail(i, "a non-negative integer");
    return 0;
  }
  return number;
}

bool Arguments::flag(size_t i) {
  bool flag = false;
  if (napi_get_value_bool(env_, values_[i], &flag) != napi_ok) fail(i, "true or false");
  return flag;
}

std::vector<double> Arguments::doubles(size_t i) {
  bool is_typed_array = false;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_is_typedarray(env_, values_[i], &is_typed_array) == napi_ok && is_typed_array &&
      napi_get_typedarray_info(env_, values_[i], &type, &length, &data, nullptr, nullptr) == napi_ok &&
      type == napi_float64_array) {
    const double* numbers = static_cast<const double*>(data);
    return std::vector<double>(numbers, numbers + length);
  }
  fail(i, "a Float64Array");
  return {};
}

std::vector<napi_value> Arguments::list(size_t i) {
  bool is_array = false;
  uint32_t length = 0;
  if (napi_is_array(env_, values_[i], &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env_, values_[i], &length) != napi_ok || length > (1u << 24)) {
    fail(i, "an array");
    return {};
  }
  std::vector<napi_value> values(length);
  for (uint32_t j = 0; j < length; j++) napi_get_element(env_, values_[i], j, &values[j]);
  return values;
}

napi_value Arguments::function(size_t i) {
  napi_valuetype type;
  if (napi_typeof(env_, values_[i], &type) != napi_ok || type != napi_function) fail(i, "a function");
  return values_[i];
}

void* Arguments::unwrap(size_t i, const napi_type_tag& tag, const char* expected) {
  napi_valuetype type;
  bool is_tagged = false;
  void* data = nullptr;
  if (napi_typeof(env_, values_[i], &type) == napi_ok && type == napi_object &&
      napi_check_object_type_tag(env_, values_[i], &tag, &is_tagged) == napi_ok && is_tagged &&
      napi_unwrap(env_, values_[i], &data) == napi_ok)
    return data;
  fail(i, expected);
  return nullptr;
}

Engine* Arguments::engine(size_t i) {
  auto* holder = static_cast<std::shared_ptr<Engine>*>(unwrap(i, kEngineTag, "an engine"));
  if (!holder) return nullptr;
  if (!(*holder)->runner) {
    fail(i, "an engine that is open");
    return nullptr;
  }
  return holder->get();
}

std::shared_ptr<LoadedProgram> Arguments::shared_program(size_t i) {
  auto* holder = static_cast<std::shared_ptr<LoadedProgram>*>(unwrap(i, kProgramTag, "a program"));
  if (holder && *holder) return *holder;
  if (holder) fail(i, "a program that was not unloaded");
  return nullptr;
}

void Arguments::drop_program(size_t i) {
  auto* holder = static_cast<std::shared_ptr<LoadedProgram>*>(unwrap(i, kProgramTag, "a program"));
  if (holder) holder->reset();
}

}  // namespace quaver
