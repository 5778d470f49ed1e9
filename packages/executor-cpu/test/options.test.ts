/** @file What the executor takes from its options and from the environment, and what it says about its devices. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type AddonSearch, findAddon } from '../src/engine/load-addon.ts';
import { cpuPlugin } from '../src/index.ts';
import { addon, isas } from './engines.ts';

vi.mock('../src/engine/load-addon.ts', async (original) => {
  const module = await original<typeof import('../src/engine/load-addon.ts')>();
  return { ...module, findAddon: vi.fn(module.findAddon) };
});

afterEach(() => {
  vi.unstubAllEnvs();
  vi.mocked(findAddon).mockReset();
  vi.restoreAllMocks();
});

const missing: AddonSearch = { addon: undefined, reason: 'it is not installed', remedy: 'npm install brings it.' };
const option = { code: 'executor-option' };

async function opened(options: Parameters<typeof cpuPlugin.open>[0] = {}) {
  await using executor = await cpuPlugin.open(options);
  return executor.device;
}

describe('QUAVER_CPU_ISA', () => {
  test('names the instruction set', async () => {
    for (const isa of isas) {
      vi.stubEnv('QUAVER_CPU_ISA', isa);
      expect(await opened()).toMatchObject({ id: 'native', details: { isa } });
    }
    vi.stubEnv('QUAVER_CPU_ISA', '');
    expect(await opened()).toMatchObject({ id: 'native', details: { isa: isas[0] } });
  });

  test.each(['wasm', 'simd128'])('%s: WebAssembly, and the reason', async (isa) => {
    vi.stubEnv('QUAVER_CPU_ISA', isa);
    const devices = await cpuPlugin.listDevices();
    expect(devices.map(({ id }) => id)).toEqual(['wasm']);
    expect(Object.values(devices[0]!.details)).toContain(`QUAVER_CPU_ISA is ${isa}`);
    expect(await opened({ threads: 1 })).toMatchObject({ id: 'wasm', details: { isa: 'simd128', threads: 1 } });
    await expect(cpuPlugin.open({ device: 'native' })).rejects.toMatchObject({ code: 'executor-device-unknown' });
  });

  test.each(['quantum', 'AVX2', ' ', 'avx2 '])("'%s' is refused, and the message names what runs", async (isa) => {
    vi.stubEnv('QUAVER_CPU_ISA', isa);
    const refused = { ...option, hint: expect.stringContaining(isas.join(', ')) };
    await expect(cpuPlugin.open()).rejects.toMatchObject(refused);
    await expect(cpuPlugin.listDevices()).rejects.toMatchObject(refused);
  });
});

describe('threads', () => {
  test('the option, else QUAVER_THREADS, else the processors', async () => {
    expect((await opened({ threads: 3 })).details.threads).toBe(3);
    vi.stubEnv('QUAVER_THREADS', '5');
    const device = await opened();
    expect(device).toMatchObject({ name: expect.stringContaining('5 threads'), details: { threads: 5 } });
    expect((await opened({ threads: 1 })).name).toMatch(/1 thread\b/);
    vi.stubEnv('QUAVER_THREADS', '');
    const { availableParallelism } = await import('node:os');
    expect((await opened()).details.threads).toBe(availableParallelism());
  });

  test.each(['0', '-1', '1.5', 'many', '1025', ' 2 x', 'Infinity', 'NaN'])(
    "QUAVER_THREADS '%s' is refused",
    async (threads) => {
      vi.stubEnv('QUAVER_THREADS', threads);
      await expect(cpuPlugin.open()).rejects.toMatchObject(option);
      await expect(cpuPlugin.listDevices()).rejects.toMatchObject(option);
      vi.stubEnv('QUAVER_THREADS', '2');
      expect((await opened()).details.threads).toBe(2);
    },
  );

  test.each([0, -1, 1.5, 1025, Number.NaN, Number.POSITIVE_INFINITY])('the option %s is refused', async (threads) => {
    for (const device of ['native', 'wasm']) {
      await expect(cpuPlugin.open({ threads, device })).rejects.toMatchObject(option);
    }
  });

  test('a system that grants none is an error of its own', async () => {
    const refuse = () => {
      throw Object.assign(new Error('the system grants no thread'), { code: 'thread-refused' });
    };
    vi.mocked(findAddon).mockReturnValue({ addon: { ...addon, open: refuse }, path: 'addon' });
    await expect(cpuPlugin.open()).rejects.toMatchObject({ code: 'executor-threads', message: /grants no thread/ });
  });
});

describe('without the addon', () => {
  test('there is WebAssembly, and its device says why there is nothing else', async () => {
    vi.mocked(findAddon).mockReturnValue(missing);
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const [device, ...others] = await cpuPlugin.listDevices();
    expect(others).toEqual([]);
    expect(device!.id).toBe('wasm');
    expect(Object.values(device!.details)).toContain('it is not installed');
    expect((await opened({ threads: 1 })).id).toBe('wasm');
    await expect(cpuPlugin.open({ device: 'native' })).rejects.toMatchObject({ code: 'executor-device-unknown' });
    vi.stubEnv('QUAVER_CPU_ISA', 'avx2');
    await expect(cpuPlugin.open()).rejects.toMatchObject({ ...option, message: /it is not installed/ });
  });

  test('this is said once, where something can be done about it', async () => {
    const { noticeFallback } =
      await vi.importActual<typeof import('../src/fallback-notice.ts')>('../src/fallback-notice.ts');
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    vi.mocked(findAddon).mockReturnValue({ ...missing, remedy: undefined });
    noticeFallback();
    expect(warn).not.toHaveBeenCalled();
    vi.mocked(findAddon).mockReturnValue(missing);
    noticeFallback();
    noticeFallback();
    expect(warn.mock.calls.length).toBeLessThanOrEqual(1);
  });
});

test('capabilities: the rows of fast sums may differ', async () => {
  for (const device of ['native', 'wasm']) {
    await using canonical = await cpuPlugin.open({ device, threads: 1 });
    await using fast = await cpuPlugin.open({ device, threads: 1, reduction: 'fast' });
    expect(canonical.capabilities).toMatchObject({ rowInvariant: true, deterministic: true });
    expect(fast.capabilities).toMatchObject({ rowInvariant: false, deterministic: true });
  }
});
