// Running the chunks of a phase.
#include "program.h"

namespace quaver {
namespace {

/** The first failure is kept; it stops the run. */
void fail(Program& program, uint32_t instruction, Failure failure) {
  uint32_t none = kNoFailure;
  failure.instruction = instruction;
  if (__atomic_compare_exchange_n(&program.failure.code, &none, failure.code, false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE)) {
    program.failure.instruction = failure.instruction;
    program.failure.position = failure.position;
    program.failure.found = failure.found;
    program.failure.limit = failure.limit;
  }
  __atomic_store_n(&program.stop, 1, __ATOMIC_RELEASE);
}

void add_seconds(double* total, double seconds) {
  uint64_t* bits = reinterpret_cast<uint64_t*>(total);
  uint64_t old = __atomic_load_n(bits, __ATOMIC_RELAXED), sum;
  do {
    double value;
    __builtin_memcpy(&value, &old, sizeof value);
    value += seconds;
    __builtin_memcpy(&sum, &value, sizeof sum);
  } while (!__atomic_compare_exchange_n(bits, &old, sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void run_units(Program& program, const Phase& phase, const Lane& lane, uint32_t from, uint32_t to, uint32_t thread) {
  void* scratch = program.scratch + thread * program.scratch_bytes;
  const double share = phase.parallel ? program.threads : 1;
  for (uint32_t i = lane.first; i != kNone; i = program.instructions[i].next) {
    const Call& call = program.instructions[i].call;
    const double start = program.seconds ? program.clock() : 0;
    Failure failure{};
    call.op->run(call, *program.kernels, from, to, scratch, failure);
    if (program.seconds) add_seconds(&program.seconds[i], (program.clock() - start) / share);
    if (failure.code != kNoFailure) return fail(program, i, failure);
  }
}

}  // namespace

void begin_run(Program& program) {
  for (uint32_t p = 0; p < program.phase_count; p++) program.phases[p].taken = 0;
  program.failure = {};
}

bool work_on_one(Program& program, uint32_t index, uint32_t thread, double* cost) {
  Phase& phase = program.phases[index];
  if (__atomic_load_n(&program.stop, __ATOMIC_RELAXED)) return false;
  const uint32_t chunk = __atomic_fetch_add(&phase.taken, 1, __ATOMIC_RELAXED);
  if (chunk >= phase.chunks) return false;
  uint32_t l = phase.first_lane + phase.lane_count - 1;
  while (program.lanes[l].first_chunk > chunk) l--;
  const Lane& lane = program.lanes[l];
  const uint32_t from = (chunk - lane.first_chunk) * lane.chunk_units;
  const uint32_t to = lane.units - from < lane.chunk_units ? lane.units : from + lane.chunk_units;
  run_units(program, phase, lane, from, to, thread);
  if (cost) *cost += lane.unit_cost * (to - from);
  return true;
}

void work_on(Program& program, uint32_t phase, uint32_t thread) {
  while (work_on_one(program, phase, thread, nullptr)) {
  }
}

}  // namespace quaver
