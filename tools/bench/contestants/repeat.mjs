/** @file Timing of short calls. */
import { median } from '../statistics.mjs';

/** Median milliseconds of calls over `milliseconds`, three at least. */
export async function medianTime(call, milliseconds = 400) {
  const times = [];
  for (const end = performance.now() + milliseconds; times.length < 3 || performance.now() < end; ) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  return median(times);
}
