#include "team.h"

namespace quaver {
namespace {

constexpr uint64_t kOpen = 1, kWorker = 2, kPhase = uint64_t{1} << 32;

uint64_t phase_of(uint64_t state) { return state >> 32; }
uint32_t inside(uint64_t state) { return static_cast<uint32_t>(state) >> 1; }

/** Sleeping and waking cannot miss each other: one side announces itself and then looks, the other changes the word and
 * then looks for sleepers, all in one total order. */
void sleep_at(uint32_t& word, uint32_t value, uint32_t& sleepers) {
  __atomic_fetch_add(&sleepers, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == value) sleep_while(&word, value);
  __atomic_fetch_sub(&sleepers, 1, __ATOMIC_SEQ_CST);
}

void change(uint32_t& word, uint32_t& sleepers) {
  __atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&sleepers, __ATOMIC_SEQ_CST) > 0) wake_all(&word);
}

/** Waits until the word has another value. */
void wait_for_change(uint32_t& word, uint32_t value, uint32_t& sleepers, uint32_t spins) {
  for (uint32_t i = 0; i < spins; i++) {
    if (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != value) return;
    pause_thread();
  }
  while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == value) sleep_at(word, value, sleepers);
}

void share(Team& team, Program& program, uint32_t phase) {
  team.program = &program;
  team.phase = phase;
  // Numbers come round after 2^32 phases; 0 stands for none.
  const uint32_t number = static_cast<uint32_t>(phase_of(__atomic_load_n(&team.state, __ATOMIC_RELAXED)) + 1);
  const uint64_t next = number == 0 ? 1 : number;
  __atomic_store_n(&team.state, next * kPhase | kOpen, __ATOMIC_SEQ_CST);
  change(team.gate, team.sleepers);
  work_on(program, phase, 0);
  uint32_t left = __atomic_load_n(&team.left, __ATOMIC_ACQUIRE);
  uint64_t state = __atomic_and_fetch(&team.state, ~kOpen, __ATOMIC_ACQ_REL);
  while (inside(state) > 0) {
    wait_for_change(team.left, left, team.master_sleeps, team.spins);
    left = __atomic_load_n(&team.left, __ATOMIC_ACQUIRE);
    state = __atomic_load_n(&team.state, __ATOMIC_ACQUIRE);
  }
}

/** Enters the phase that is open, if it is another one than `last`; its number, or 0. */
uint64_t enter(Team& team, uint64_t last) {
  uint64_t state = __atomic_load_n(&team.state, __ATOMIC_ACQUIRE);
  while ((state & kOpen) && phase_of(state) != last)
    if (__atomic_compare_exchange_n(&team.state, &state, state + kWorker, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      return phase_of(state);
  return 0;
}

void leave(Team& team) {
  const uint64_t state = __atomic_sub_fetch(&team.state, kWorker, __ATOMIC_ACQ_REL);
  if (!(state & kOpen) && inside(state) == 0) change(team.left, team.master_sleeps);
}

}  // namespace

void team_run(Team& team, Program& program) {
  begin_run(program);
  for (uint32_t phase = 0; phase < program.phase_count; phase++) {
    if (__atomic_load_n(&program.stop, __ATOMIC_RELAXED)) return;
    if (program.phases[phase].parallel)
      share(team, program, phase);
    else
      work_on(program, phase, 0);
  }
}

void team_work(Team& team, uint32_t thread) {
  uint64_t last = 0;
  for (;;) {
    const uint32_t gate = __atomic_load_n(&team.gate, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&team.quit, __ATOMIC_ACQUIRE)) return;
    if (const uint64_t phase = enter(team, last)) {
      last = phase;
      work_on(*team.program, team.phase, thread);
      leave(team);
    } else {
      wait_for_change(team.gate, gate, team.sleepers, team.spins);
    }
  }
}

void team_quit(Team& team) {
  __atomic_store_n(&team.quit, 1, __ATOMIC_RELEASE);
  change(team.gate, team.sleepers);
}

}  // namespace quaver
