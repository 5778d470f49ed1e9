// The native engine as JavaScript sees it (Node-API 8). `src/engine/native-engine.ts` is the interface for people.
//
// Nothing that JavaScript passes is trusted: handles carry type tags, memory is found again by its address, and images
// are checked when they are loaded. A wrong call throws; it never reaches a kernel.
#define NAPI_VERSION 8
#include <node_api.h>

#include <system_error>

#include "handles.h"
#include "isa.h"

namespace quaver {
namespace {

const Kernels* find_isa(const std::string& name) {
  for (const Kernels* kernels : kernels_of_this_processor())
    if (name == kernels->isa) return kernels;
  return nullptr;
}

/** isas(): names of the instruction sets that run here, best first. */
napi_value isas(napi_env env, napi_callback_info) {
  std::vector<std::string> names;
  for (const Kernels* kernels : kernels_of_this_processor()) names.push_back(kernels->isa);
  return to_array(env, names);
}

/** ops(): names of all ops; an op's code is its index. */
napi_value ops(napi_env env, napi_callback_info) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < kOpCount; i++) names.push_back(kOps[i]->name);
  return to_array(env, names);
}

/** open(isa, threads): an engine. */
napi_value open(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  const std::string isa = arguments.text(0);
  const uint32_t threads = arguments.integer(1, 1, 4096);
  if (!arguments.ok()) return nullptr;
  const Kernels* kernels = find_isa(isa);
  if (!kernels) return throw_error(env, "isa-unknown", "this processor has no instruction set of that name");
  try {
    return wrap_engine(env, std::make_shared<Engine>(env, *kernels, threads));
  } catch (const std::system_error&) {
    return throw_error(env, "thread-refused", "the system grants no thread");
  }
}

napi_value threads(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Engine* engine = arguments.engine(0);
  return engine ? to_number(env, engine->runner->threads()) : nullptr;
}

/** close(engine): stops what runs and joins the threads. Its memory lives on while JavaScript sees it. */
napi_value close(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  if (Engine* engine = arguments.engine(0)) engine->close();
  return nullptr;
}

/** allocate(engine, bytes, lasting): a zero-filled ArrayBuffer, or null when there is no memory. */
napi_value allocate(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  Engine* engine = arguments.engine(0);
  const double bytes = arguments.size(1);
  const bool lasting = arguments.flag(2);
  return arguments.ok() ? engine->allocate(env, static_cast<uint64_t>(bytes), lasting) : nullptr;
}

/** release(engine, buffer): the ArrayBuffer is empty from now on. Programs that use its memory keep it. */
napi_value release(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  Engine* engine = arguments.engine(0);
  if (arguments.ok() && engine->memory_of(env, arguments.value(1))) napi_detach_arraybuffer(env, arguments.value(1));
  return nullptr;
}

/** packedBytes(engine, format, n, k) */
napi_value packed_bytes(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 4);
  Engine* engine = arguments.engine(0);
  const uint32_t format = arguments.integer(1, 0, kFormats - 1);
  const uint32_t n = arguments.integer(2, 0, kGreatestSide), k = arguments.integer(3, 0, kGreatestSide);
  if (!arguments.ok()) return nullptr;
  return to_number(env, double(engine->kernels.packed_bytes(static_cast<Format>(format), n, k)));
}

/** stagedBytes(engine, a format, w format, m, k) */
napi_value staged_bytes(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 5);
  Engine* engine = arguments.engine(0);
  const uint32_t a = arguments.integer(1, 0, kFormats - 1), w = arguments.integer(2, 0, kFormats - 1);
  const uint32_t m = arguments.integer(3, 0, kGreatestSide), k = arguments.integer(4, 0, kGreatestSide);
  if (!arguments.ok()) return nullptr;
  return to_number(env, double(engine->kernels.staged_bytes(static_cast<Format>(a), static_cast<Format>(w), m, k)));
}

/** load(engine, image: Float64Array, buffers: ArrayBuffer[], profile: boolean): a program. */
napi_value load(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 4);
  Engine* engine = arguments.engine(0);
  const std::vector<double> image = arguments.doubles(1);
  const std::vector<napi_value> buffers = arguments.list(2);
  const bool profile = arguments.flag(3);
  return arguments.ok() ? load_image(env, *engine, image, buffers, profile) : nullptr;
}

/** phases(program): [instructions, phases, phases that threads share], for tests and reports. */
napi_value phases(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  LoadedProgram* loaded = arguments.program(0);
  if (!loaded) return nullptr;
  const Program& program = loaded->program;
  uint32_t shared = 0;
  for (uint32_t i = 0; i < program.phase_count; i++) shared += program.phases[i].parallel;
  return to_array(env, std::vector<double>{double(program.instruction_count), double(program.phase_count), double(shared)});
}

/**
 * run(program, done): queues a run; `done(failure)` is called when it ended: undefined, or [code, instruction, position,
 * found, limit], or null when it was stopped.
 */
napi_value run(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  const std::shared_ptr<LoadedProgram> program = arguments.shared_program(0);
  napi_value done = arguments.function(1);
  if (arguments.ok()) program->engine->run(env, program, done);
  return nullptr;
}

/** stop(program): makes the run that is queued or under way end early. */
napi_value stop(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  if (LoadedProgram* loaded = arguments.program(0)) __atomic_store_n(&loaded->program.stop, 1, __ATOMIC_RELEASE);
  return nullptr;
}

/** seconds(program): time by instruction since it was loaded for profiling; empty otherwise. */
napi_value seconds(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  LoadedProgram* loaded = arguments.program(0);
  return loaded ? to_array(env, loaded->seconds) : nullptr;
}

/** unload(program): gives its memory back; a run that is under way ends first. */
napi_value unload(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  arguments.drop_program(0);
  return nullptr;
}

napi_value init(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback callback;
  } functions[] = {{"isas", guarded<isas>},         {"ops", guarded<ops>},         {"open", guarded<open>},       {"threads", guarded<threads>},
                   {"close", guarded<close>},       {"allocate", guarded<allocate>}, {"release", guarded<release>}, 
                   {"packedBytes", guarded<packed_bytes>}, {"stagedBytes", guarded<staged_bytes>}, {"load", guarded<load>}, {"phases", guarded<phases>},
                   {"run", guarded<run>},           {"stop", guarded<stop>},       {"seconds", guarded<seconds>}, {"unload", guarded<unload>}};
  for (const auto& [name, callback] : functions) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  }
  return exports;
}

}  // namespace
}  // namespace quaver

NAPI_MODULE_INIT() { return quaver::init(env, exports); }
