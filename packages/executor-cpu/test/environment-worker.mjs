/** @file Starts a long run in a worker and ends the worker in the middle of it, several times. */

import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

if (isMainThread) {
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(new URL(import.meta.url));
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await new Promise((resolve) => setTimeout(resolve, 5 * i));
    await worker.terminate();
  }
  console.log('all ended');
} else {
  const addon = createRequire(import.meta.url)(process.env.ADDON);
  const engine = addon.open(addon.isas()[0], 2);
  const buffer = addon.allocate(engine, 1 << 22, false);
  const copy = addon.ops().indexOf('strided_copy');
  // A copy of the same element again and again, for hours.
  const image = Float64Array.of(1, copy, 0, 0, 0, 1 << 21, 4, 4e9, 1024, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  addon.run(addon.load(engine, image, [buffer], false), () => undefined);
  parentPort.postMessage('running');
}
