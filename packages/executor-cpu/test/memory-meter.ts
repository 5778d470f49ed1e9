import type { Executor } from '@quaver/executor';
import { cpuPlugin } from '../src/index.ts';
import { addon } from './engines.ts';

export interface Metered {
  readonly executor: Executor;
  /** The most bytes that it had at a time so far; WebAssembly memory does not shrink. */
  peak(): number;
}

/** A CPU executor whose memory is watched, and ends at `maxBytes`. */
export function openMetered(device: string, maxBytes = 2 ** 32): Promise<Metered> {
  return device === 'wasm' ? openWasm(maxBytes) : openNative(maxBytes);
}

async function openWasm(maxBytes: number): Promise<Metered> {
  const { Memory } = WebAssembly;
  const made: WebAssembly.Memory[] = [];
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super({ ...descriptor, maximum: maxBytes / 65536 });
      made.push(this);
    }
  };
  try {
    const executor = await cpuPlugin.open({ device: 'wasm', threads: 1 });
    return { executor, peak: () => made[0]!.buffer.byteLength };
  } finally {
    WebAssembly.Memory = Memory;
  }
}

/** Counts what the addon hands out. There must be no other executor meanwhile. */
async function openNative(maxBytes: number): Promise<Metered> {
  const executor = await cpuPlugin.open({ device: 'native', threads: 2 });
  const { allocate, release } = addon;
  let [live, most] = [0, 0];
  Object.assign(addon, {
    allocate: (...[engine, byteLength, lasting]: Parameters<typeof allocate>) => {
      const buffer = live + byteLength <= maxBytes ? allocate(engine, byteLength, lasting) : null;
      live += buffer?.byteLength ?? 0;
      most = Math.max(most, live);
      return buffer;
    },
    release: (...[engine, buffer]: Parameters<typeof release>) => {
      live -= buffer.byteLength;
      release(engine, buffer);
    },
  });
  const dispose = executor[Symbol.asyncDispose].bind(executor);
  executor[Symbol.asyncDispose] = async () => {
    await dispose();
    Object.assign(addon, { allocate, release });
  };
  return { executor, peak: () => most };
}
