/**
 * Damaged files and texts: each gives a clean error or a module that the verifier accepts, within a second, and nothing
 * from outside the file. QUAVER_FUZZ_SEED changes the damage; the default keeps runs alike.
 */
import { type Module, parseModule, printModule, readModuleBytes, verifyModule, writeModuleBytes } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { damageBytes, damageText, randomSource } from './support/mutate.ts';
import { randomModule } from './support/random-module.ts';
import { decoderModule, richModule, tinyModule } from './support/sample-modules.ts';

const FILES = 200_000;
const TEXTS = 50_000;
/** Ten times what it takes on two idle cores. */
const timeout = 600_000;
const seed = Number(process.env.QUAVER_FUZZ_SEED ?? 1);

/** Small modules are damaged more often: most rules are reached there, in a fraction of the time. */
const modules = [
  tinyModule(),
  tinyModule(),
  richModule(),
  ...fc.sample(randomModule, { numRuns: 12, seed: 7 }),
  decoderModule(1),
];
const large = decoderModule(4);

// Stack traces of expected errors would take a third of the time.
Error.stackTraceLimit = 0;

/** How inputs ended, by the first part of the error's code. */
type Outcomes = Map<string, number>;

function count(outcomes: Outcomes, outcome: string): void {
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
}

/** Runs `read`; anything but a module or a QuaverError, or more than a second of processor time, fails the test. */
function attempt(read: () => Module, outcomes: Outcomes): Module | QuaverError {
  const start = process.cpuUsage();
  let result: Module | QuaverError;
  try {
    result = read();
    verifyModule(result);
    count(outcomes, 'accepted');
  } catch (error) {
    if (!(error instanceof QuaverError) || !/^[a-z]+(-[a-z]+)+$/.test(error.code)) throw error;
    count(outcomes, error.code.split('-', 1)[0]!);
    result = error;
  }
  const { user, system } = process.cpuUsage(start);
  if (user + system > 1_000_000) throw new Error(`one input took ${(user + system) / 1000} ms`);
  return result;
}

/** What a reader can observe of a result. */
function observed(result: Module | QuaverError): string {
  return result instanceof QuaverError ? `${result.code} ${result.message} ${result.hint}` : printModule(result);
}

describe('damaged files', async () => {
  const seeds = await Promise.all(modules.map((module) => writeModuleBytes(module)));
  const largeSeed = await writeModuleBytes(large);
  const headerOf = (file: Uint8Array) => 4 + new DataView(file.buffer).getUint32(0, true);
  const arenas = [0xaa, 0x50].map((poison) => new Uint8Array(largeSeed.byteLength + 8192).fill(poison));

  /** Reads `file` from the middle of a larger buffer of poison. */
  function readAmid(arena: Uint8Array, file: Uint8Array): Module {
    const poison = arena[0]!;
    arena.set(file, 4096);
    try {
      return readModuleBytes(arena.subarray(4096, 4096 + file.byteLength));
    } finally {
      arena.fill(poison, 4096, 4096 + file.byteLength);
    }
  }

  test(`${FILES} give an error or a verified module`, { timeout }, () => {
    const random = randomSource(seed);
    const outcomes: Outcomes = new Map();
    for (let i = 0; i < FILES; i++) {
      const file = i % 500 === 0 ? largeSeed : seeds[i % seeds.length]!;
      const damaged = damageBytes(file, headerOf(file), random);
      const result = attempt(() => readAmid(arenas[0]!, damaged), outcomes);
      if (i % 10 !== 0) continue;
      const elsewhere = attempt(() => readAmid(arenas[1]!, damaged), new Map());
      expect(observed(elsewhere)).toBe(observed(result));
    }
    expect(outcomes.get('accepted')).toBeGreaterThan(FILES / 100);
    expect(outcomes.get('module')).toBeGreaterThan(FILES / 10);
    expect(outcomes.get('verify')).toBeGreaterThan(FILES / 100);
  });

  test('tensor bytes of accepted files come from the file', async () => {
    const random = randomSource(seed + 1);
    let checked = 0;
    for (let i = 0; i < 3000; i++) {
      const file = seeds[i % seeds.length]!;
      const damaged = damageBytes(file, headerOf(file), random);
      const arena = new Uint8Array(damaged.byteLength + 8192).fill(0xaa);
      arena.set(damaged, 4096);
      const result = attempt(() => readModuleBytes(arena.subarray(4096, 4096 + damaged.byteLength)), new Map());
      if (result instanceof QuaverError) continue;
      for (const data of [...result.parameters.map((parameter) => parameter.data), ...result.attachments.values()]) {
        const bytes = await data?.read();
        if (!bytes) continue;
        checked++;
        expect(bytes.byteOffset).toBeGreaterThanOrEqual(4096);
        expect(bytes.byteOffset + bytes.byteLength).toBeLessThanOrEqual(4096 + damaged.byteLength);
      }
    }
    expect(checked).toBeGreaterThan(100);
  });
});

test(`${TEXTS} damaged texts give an error or a verified module`, { timeout }, () => {
  const seeds = modules.map(printModule);
  const largeSeed = printModule(large);
  const random = randomSource(seed + 2);
  const outcomes: Outcomes = new Map();
  for (let i = 0; i < TEXTS; i++) {
    const text = damageText(i % 500 === 0 ? largeSeed : seeds[i % seeds.length]!, random);
    const result = attempt(() => parseModule(text), outcomes);
    if (result instanceof QuaverError || i % 20 !== 0) continue;
    const printed = printModule(result);
    expect(printModule(parseModule(printed))).toBe(printed);
  }
  expect(outcomes.get('accepted')).toBeGreaterThan(TEXTS / 100);
  expect(outcomes.get('text')).toBeGreaterThan(TEXTS / 10);
  expect(outcomes.get('verify')).toBeGreaterThan(TEXTS / 100);
});
