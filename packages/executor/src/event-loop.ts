function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}

/** Long host work gives the event loop a turn when this many milliseconds have passed. */
const turnMilliseconds = 15;

/** Says when the event loop is due for a turn. */
export class TurnClock {
  #last: number = performance.now();

  get isDue(): boolean {
    return performance.now() - this.#last > turnMilliseconds;
  }

  /** Lets timers, signals and I/O run. */
  async turn(): Promise<void> {
    await yieldToEventLoop();
    this.#last = performance.now();
  }
}
