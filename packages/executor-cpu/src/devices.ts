/** @file Which engines can run here, best first, and why not where one cannot. */
import type { DeviceInfo } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { type Addon, findAddon } from './engine/load-addon.ts';
import { chooseThreads } from './threads.ts';

export interface NativeChoice {
  readonly addon: Addon;
  readonly path: string;
  readonly isa: string;
}

/**
 * The native engine with the instruction set to use: the best one, or the one that `QUAVER_CPU_ISA` names. A reason where
 * there is none.
 * @throws QuaverError `executor-option` when the variable names an instruction set that does not run here
 */
export function chooseNative(): NativeChoice | { readonly reason: string } {
  const search = findAddon();
  const wanted = globalThis.process?.env?.QUAVER_CPU_ISA;
  if (wanted === 'wasm' || wanted === 'simd128') return { reason: `QUAVER_CPU_ISA is ${wanted}` };
  if (!search.addon) return { reason: search.reason };
  const { addon, path } = search;
  const isas = addon.isas();
  if (wanted === undefined || wanted === '') return { addon, path, isa: isas[0]! };
  if (isas.includes(wanted)) return { addon, path, isa: wanted };
  throw new QuaverError('executor-option', `QUAVER_CPU_ISA is '${wanted}', which does not run on this processor`, {
    hint: `Here run: ${isas.join(', ')}, wasm.`,
  });
}

export function listDevices(): readonly [DeviceInfo, ...DeviceInfo[]] {
  const choice = chooseNative();
  const missing = 'reason' in choice ? { native: choice.reason } : {};
  const wasm: DeviceInfo = {
    id: 'wasm',
    name: 'CPU (WebAssembly SIMD, 1 thread)',
    details: { isa: 'simd128', threads: 1, ...missing },
  };
  if ('reason' in choice) return [wasm];
  const threads = chooseThreads(undefined);
  const native: DeviceInfo = {
    id: 'native',
    name: `CPU (native ${choice.isa}, ${threads} ${threads === 1 ? 'thread' : 'threads'})`,
    details: { isa: choice.isa, threads, addon: choice.path },
  };
  return [native, wasm];
}
