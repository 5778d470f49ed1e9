// What the module with threads exports beyond the other. Every thread is a worker with an instance of the module over the
// same memory, and with a stack of its own; `src/engine/wasm-worker.ts` is what it does. Only workers may sleep here: a
// page's main thread must not, so that it loads programs, begins runs and stops them, and hears of their end by message.
#include "../program/team.h"
#include "run.h"

namespace quaver {

void sleep_while(uint32_t* word, uint32_t value) {
  __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int*>(word), static_cast<int>(value), -1);
}

void wake_all(uint32_t* word) { __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(word), UINT32_MAX); }

// WebAssembly cannot say it.
void pause_thread() {}

QUAVER_EXPORT(team_bytes) size_t team_bytes() { return sizeof(Team); }

/** Makes zero-filled memory a team. */
QUAVER_EXPORT(team_begin) void team_begin(Team* team, uint32_t spins) { team->spins = spins; }

/** What the master does for one run, between `begin` and the message that it has ended. */
QUAVER_EXPORT(team_run) void run_as_team(Team* team, Run* run) { team_run(*team, run->program); }

/** What the other workers do; returns after `team_quit`. */
QUAVER_EXPORT(team_work) void work_in_team(Team* team, uint32_t thread) { team_work(*team, thread); }

QUAVER_EXPORT(team_quit) void quit_team(Team* team) { team_quit(*team); }

}  // namespace quaver
