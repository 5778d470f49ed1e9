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
  const fill = addon.ops().indexOf('fill');
  // The same million elements filled again and again, for seconds.
  const again = Array.from({ length: 4000 }, () => [fill, 0, 0, 1 << 10, 1 << 10, 4, 7]).flat();
  const image = Float64Array.of(4000, ...again);
  addon.run(addon.load(engine, image, [buffer], false), () => undefined);
  parentPort.postMessage('running');
}
