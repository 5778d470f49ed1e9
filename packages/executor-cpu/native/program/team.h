// The threads that run a program: one master, who walks through the phases, and workers, who join the phases that are
// worth sharing. A worker that sleeps or was not scheduled holds nobody up: the master closes a phase when its chunks
// are taken, and waits only for workers that are inside.
#pragma once
#include "program.h"

namespace quaver {

struct Team {
  /** Upper half: number of the phase; bits 1 … 31: workers inside; bit 0: open. */
  alignas(64) uint64_t state;
  /** What workers sleep on: changes with every phase that opens, and at the end. */
  alignas(64) uint32_t gate;
  uint32_t sleepers;
  /** What the master sleeps on: changes when the last worker leaves a closed phase. */
  alignas(64) uint32_t left;
  uint32_t master_sleeps;
  /** Set before a phase opens, read by the workers inside. */
  Program* program;
  uint32_t phase;
  uint32_t quit;
  /** Looks at a word before its thread goes to sleep; 0 where there are more threads than processors. */
  uint32_t spins;
};

/** Runs a whole program on the calling thread, with the help of the workers. */
void team_run(Team& team, Program& program);

/** What a worker does until the team ends; workers are numbered from 1. */
void team_work(Team& team, uint32_t thread);

/** Makes all workers return. */
void team_quit(Team& team);

// What the platform gives.

/** Sleeps while the word has this value; may return early. */
void sleep_while(uint32_t* word, uint32_t value);
void wake_all(uint32_t* word);
/** Tells the processor that the thread is waiting. */
void pause_thread();

}  // namespace quaver
