/** @file Which engines can run here, best first, and why not where one cannot. */
import type { DeviceInfo } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { type Addon, type AddonMissing, findAddon } from './engine/load-addon.ts';
import { whyNoThreads } from './engine/wasm-thread.ts';
import { chooseThreads, threadsFrom } from './threads.ts';

export interface NativeChoice {
  readonly addon: Addon;
  readonly path: string;
  readonly isa: string;
}

export type NoNative = Pick<AddonMissing, 'reason' | 'remedy'>;

/**
 * The native engine with the instruction set to use: the best one, or the one that `QUAVER_CPU_ISA` names. A reason where
 * there is none.
 * @throws QuaverError `executor-option` when the variable names an instruction set that does not run here
 */
export function chooseNative(): NativeChoice | NoNative {
  const wanted = globalThis.process?.env?.QUAVER_CPU_ISA;
  if (wanted === 'wasm' || wanted === 'simd128') return { reason: `QUAVER_CPU_ISA is ${wanted}`, remedy: undefined };
  const search = findAddon();
  const isas = search.addon?.isas() ?? [];
  const isa = wanted || isas[0];
  if (!search.addon && !wanted) return search;
  if (search.addon && isas.includes(isa!)) return { addon: search.addon, path: search.path, isa: isa! };
  const why = search.addon ? 'the processor does not have it, or there is none of that name' : search.reason;
  throw new QuaverError('executor-option', `QUAVER_CPU_ISA is '${wanted}', which does not run here: ${why}`, {
    hint: `Here run: ${[...isas, 'wasm'].join(', ')}.`,
  });
}

export function listDevices(option?: number): readonly [DeviceInfo, ...DeviceInfo[]] {
  const choice = chooseNative();
  const missing =
    'reason' in choice
      ? { why_not_native: choice.reason, ...(choice.remedy === undefined ? {} : { remedy: choice.remedy }) }
      : {};
  const threads = chooseThreads(option);
  const shortage = threads > 1 ? whyNoThreads() : undefined;
  const wasmThreads = shortage === undefined ? threads : 1;
  const wasm: DeviceInfo = {
    id: 'wasm',
    name: `CPU (WebAssembly SIMD, ${wasmThreads} ${wasmThreads === 1 ? 'thread' : 'threads'})`,
    details: {
      isa: 'simd128',
      threads: wasmThreads,
      ...(shortage === undefined ? { threads_from: threadsFrom() } : { why_fewer_threads: shortage }),
      ...missing,
    },
  };
  if ('reason' in choice) return [wasm];
  const native: DeviceInfo = {
    id: 'native',
    name: `CPU (native ${choice.isa}, ${threads} ${threads === 1 ? 'thread' : 'threads'})`,
    details: {
      isa: choice.isa,
      isas: choice.addon.isas().join(', '),
      threads,
      threads_from: threadsFrom(),
      addon: choice.path,
    },
  };
  return [native, wasm];
}
