// Cutting a list of instructions into phases. Two instructions may share a phase when neither writes what the other
// touches, or when they only meet unit by unit: then one thread runs both on its units, and nobody waits in between.
#include "program.h"

namespace quaver {
namespace {

// Costs count f32 operations or bytes; one is between 0.1 and 0.2 ns on the machines that were measured.

/** Below this, waking other threads takes longer than the work. */
constexpr double kWorthSharing = 3e4;
/** A chunk is no smaller, or taking it costs too much … */
constexpr double kLeastChunk = 1e4;
/** … and no larger, so that a stop gets through within some milliseconds. */
constexpr double kGreatestChunk = 1e7;
/** Chunks for each thread, so that the slower one finishes at about the same time. */
constexpr double kChunksPerThread = 4;
/** A unit without elements still takes a call: billions of them must not pass for nothing. */
constexpr double kEmptyUnit = 100;

enum class Meeting { none, by_unit, anywhere };

bool overlap(const uint8_t* a, uint64_t a_bytes, const uint8_t* b, uint64_t b_bytes) {
  return a_bytes > 0 && b_bytes > 0 && a < b + b_bytes && b < a + a_bytes;
}

/** How the memory of two instructions meets, one of them writing. */
Meeting meeting_of(const Instruction& a, const Instruction& b) {
  Meeting found = Meeting::none;
  for (uint32_t i = 0; i < a.call.op->pointers; i++)
    for (uint32_t j = 0; j < b.call.op->pointers; j++) {
      const Access &x = a.work.accesses[i], &y = b.work.accesses[j];
      const uint8_t *px = a.call.pointers[i], *py = b.call.pointers[j];
      if (!(x.writes || y.writes) || !overlap(px, x.bytes, py, y.bytes)) continue;
      if (px != py || x.unit_bytes == 0 || x.unit_bytes != y.unit_bytes) return Meeting::anywhere;
      found = Meeting::by_unit;
    }
  return found;
}

/** The lane that an instruction can join: it meets no other lane, and this one unit by unit. */
struct Place {
  bool fits;
  /** kNone: a lane of its own. */
  uint32_t lane;
};

Place place_in(const Program& program, const Phase& phase, const Instruction& instruction) {
  Place place{true, kNone};
  for (uint32_t l = phase.first_lane; l < phase.first_lane + phase.lane_count; l++) {
    const Lane& lane = program.lanes[l];
    for (uint32_t i = lane.first; i != kNone; i = program.instructions[i].next) {
      const Meeting meeting = meeting_of(program.instructions[i], instruction);
      if (meeting == Meeting::none) continue;
      // With one unit each, the same thread runs both, whatever they touch.
      const bool same_units = lane.units == instruction.work.units;
      const bool in_order = same_units && (meeting == Meeting::by_unit || lane.units == 1);
      if (!in_order || (place.lane != kNone && place.lane != l)) return {false, kNone};
      place.lane = l;
    }
  }
  return place;
}

void add(Program& program, uint32_t index) {
  Instruction& instruction = program.instructions[index];
  instruction.next = kNone;
  Phase* phase = program.phase_count > 0 ? &program.phases[program.phase_count - 1] : nullptr;
  const Place place = phase ? place_in(program, *phase, instruction) : Place{false, kNone};
  if (!place.fits) {
    phase = &program.phases[program.phase_count++];
    *phase = {program.lane_count, 0, 0, false, 0};
  }
  Work& work = instruction.work;
  if (work.unit_cost < 1) work.unit_cost = kEmptyUnit;
  if (place.lane == kNone) {
    program.lanes[program.lane_count++] = {index, index, work.units, work.grain, work.unit_cost, 0, 0};
    phase->lane_count++;
    return;
  }
  Lane& lane = program.lanes[place.lane];
  program.instructions[lane.last].next = index;
  lane.last = index;
  lane.unit_cost += work.unit_cost;
  if (work.grain > lane.grain) lane.grain = work.grain;
}

/** Cuts the lanes of a phase into chunks of about the same cost. */
void cut(Program& program, Phase& phase) {
  double total = 0;
  for (uint32_t l = 0; l < phase.lane_count; l++) {
    const Lane& lane = program.lanes[phase.first_lane + l];
    total += lane.unit_cost * lane.units;
  }
  phase.parallel = program.threads > 1 && total > kWorthSharing;
  double wanted = phase.parallel ? total / (kChunksPerThread * program.threads) : kGreatestChunk;
  if (wanted < kLeastChunk) wanted = kLeastChunk;
  if (wanted > kGreatestChunk) wanted = kGreatestChunk;
  for (uint32_t l = 0; l < phase.lane_count; l++) {
    Lane& lane = program.lanes[phase.first_lane + l];
    const double units = wanted / (lane.unit_cost > 0 ? lane.unit_cost : 1);
    const uint32_t grains = units > lane.units ? lane.units : static_cast<uint32_t>(units);
    lane.chunk_units = (grains < lane.grain ? lane.grain : grains / lane.grain * lane.grain);
    lane.first_chunk = phase.chunks;
    phase.chunks += static_cast<uint32_t>(ceil_div(lane.units, lane.chunk_units));
  }
}

}  // namespace

void schedule(Program& program) {
  for (uint32_t i = 0; i < program.instruction_count; i++)
    if (program.instructions[i].work.units > 0) add(program, i);
  for (uint32_t p = 0; p < program.phase_count; p++) cut(program, program.phases[p]);
}

}  // namespace quaver
