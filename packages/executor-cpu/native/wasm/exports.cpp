// What the WebAssembly modules export: the same programs as the native engine, run in slices so that the event loop of
// the page or process gets its turns, or by threads (`threads.cpp`). `src/engine/wasm-engine.ts` is the interface for people.
#include "run.h"

extern "C" const quaver::Kernels* quaver_kernels_simd128();

/** Seconds since some moment; asked for only while a program is profiled. */
extern "C" __attribute__((import_module("env"), import_name("now"))) double quaver_now();

namespace quaver {
namespace {

LoadError error{nullptr, 0};

}  // namespace

QUAVER_EXPORT(op_count) uint32_t op_count() { return kOpCount; }
QUAVER_EXPORT(op_name) const char* op_name(uint32_t op) { return op < kOpCount ? kOps[op]->name : nullptr; }

QUAVER_EXPORT(packed_bytes) size_t packed_bytes(Format format, uint32_t n, uint32_t k) {
  return quaver_kernels_simd128()->packed_bytes(format, n, k);
}
QUAVER_EXPORT(staged_bytes) size_t staged_bytes(Format a, Format w, uint32_t m, uint32_t k) {
  return quaver_kernels_simd128()->staged_bytes(a, w, m, k);
}

/** Bytes (64-byte aligned) for a run of the image; 0 when it is none. */
QUAVER_EXPORT(run_bytes) size_t run_bytes(const double* image, size_t length) {
  const uint32_t count = instructions_of(image, length);
  return count == 0 ? 0 : (sizeof(Run) + 63) / 64 * 64 + program_bytes(count);
}

/** Loads the image into `memory`; null when it was refused, see `error_reason`. */
QUAVER_EXPORT(load) Run* load(void* memory, uint32_t threads, const double* image, size_t length, const Block* blocks,
                              uint32_t count) {
  Run* run = static_cast<Run*>(memory);
  run->phase = 0;
  uint8_t* rest = static_cast<uint8_t*>(memory) + (sizeof(Run) + 63) / 64 * 64;
  error = load_program(run->program, rest, *quaver_kernels_simd128(), threads, image, length, blocks, count);
  return error.reason ? nullptr : run;
}
QUAVER_EXPORT(error_reason) const char* error_reason() { return error.reason; }
QUAVER_EXPORT(error_instruction) uint32_t error_instruction() { return error.instruction; }

/** Of each thread. */
QUAVER_EXPORT(scratch_bytes) size_t scratch_bytes(const Run* run) { return run->program.scratch_bytes; }

/** Gives scratch for all threads; and `seconds` f64[instructions], which times are added to, or null. */
QUAVER_EXPORT(equip) void equip(Run* run, void* scratch, double* seconds) {
  run->program.scratch = static_cast<uint8_t*>(scratch);
  run->program.seconds = seconds;
  run->program.clock = [] { return quaver_now(); };
}

/** Makes a run ready. */
QUAVER_EXPORT(begin) void begin(Run* run) {
  __atomic_store_n(&run->program.stop, 0, __ATOMIC_RELEASE);
  run->phase = 0;
  begin_run(run->program);
}

/** Goes on until about `budget` of cost was spent; 1 when there is more to do. */
QUAVER_EXPORT(step) uint32_t step(Run* run, double budget) {
  Program& program = run->program;
  double cost = 0;
  while (run->phase < program.phase_count && !program.stop) {
    if (!work_on_one(program, run->phase, 0, &cost)) run->phase++;
    if (cost >= budget) break;
  }
  return run->phase < program.phase_count && !program.stop;
}

/** Makes a run that threads are at end early. */
QUAVER_EXPORT(stop) void stop(Run* run) { __atomic_store_n(&run->program.stop, 1, __ATOMIC_RELEASE); }

QUAVER_EXPORT(failure_code) uint32_t failure_code(const Run* run) { return run->program.failure.code; }
QUAVER_EXPORT(failure_instruction) uint32_t failure_instruction(const Run* run) {
  return run->program.failure.instruction;
}
QUAVER_EXPORT(failure_position) double failure_position(const Run* run) { return double(run->program.failure.position); }
QUAVER_EXPORT(failure_found) double failure_found(const Run* run) { return double(run->program.failure.found); }
QUAVER_EXPORT(failure_limit) double failure_limit(const Run* run) { return double(run->program.failure.limit); }

}  // namespace quaver
