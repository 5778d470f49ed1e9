// A compiled function: a list of instructions over fixed memory, cut into phases that threads run together.
//
// The host describes instructions by numbers (an image). Loading checks every one of them: names, counts, ranges, and
// that no instruction can touch a byte outside of the blocks that it names. What runs later trusts that.
#pragma once
#include "op.h"

namespace quaver {

/** Memory that the host lends to a program. */
struct Block {
  uint8_t* data;
  uint64_t bytes;
};

struct Instruction {
  Call call;
  Work work;
  /** The next instruction of the same lane; kNone at its end. */
  uint32_t next;
};
constexpr uint32_t kNone = UINT32_MAX;

/**
 * Instructions that one thread runs one after the other on the same units. They see only their own units of each
 * other's results, so nobody waits between them.
 */
struct Lane {
  uint32_t first, last, units, grain;
  double unit_cost;
  /** Units of one chunk, and the number of the lane's first chunk in its phase. */
  uint32_t chunk_units, first_chunk;
};

/** Lanes that do not touch each other's results: their chunks may run at the same time. */
struct Phase {
  uint32_t first_lane, lane_count, chunks;
  /** Whether the work is worth more than one thread. */
  bool parallel;
  /** The next chunk that nobody has taken. */
  uint32_t taken;
};

/** Why an image was refused: the instruction and the argument, by their numbers. */
struct LoadError {
  const char* reason;
  uint32_t instruction;
};

struct Program {
  const Kernels* kernels;
  Instruction* instructions;
  Lane* lanes;
  Phase* phases;
  uint32_t instruction_count, lane_count, phase_count, threads;
  /** Of each thread. */
  size_t scratch_bytes;
  uint8_t* scratch;
  /** Set from outside to make the run end early; set by a failure, too. */
  uint32_t stop;
  Failure failure;
  /** Seconds by instruction, for profiling; null: not measured. */
  double* seconds;
  double (*clock)();
};

/** An image begins with the number of instructions; 0 when it does not, or when they cannot be that many. */
uint32_t instructions_of(const double* image, size_t length);

/** Bytes of memory (64-byte aligned) for a program of so many instructions. */
size_t program_bytes(uint32_t instructions);

/** Fills `program`, whose arrays lie in `memory`. The reason is null when all is well. */
LoadError load_program(Program& program, void* memory, const Kernels& kernels, uint32_t threads, const double* image,
                       size_t length, const Block* blocks, uint32_t block_count);

/** Makes the program ready for a run. */
void begin_run(Program& program);

/** Runs chunks of a phase until none is left. Any number of threads may do so at the same time. */
void work_on(Program& program, uint32_t phase, uint32_t thread);

/** Runs one chunk of a phase; false when none was left. */
bool work_on_one(Program& program, uint32_t phase, uint32_t thread, double* cost);

}  // namespace quaver
