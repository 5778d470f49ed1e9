import { stat } from 'node:fs/promises';
import path from 'node:path';
import { writeFileAtomically } from '@quaver/formats/node';
import {
  checkRecipe,
  parseRlConfig,
  type ReportedRl,
  type RlConfig,
  type RlEvent,
  type RlRow,
  recipeOf,
  renderRlComparison,
  rlRow,
} from '@quaver/rl';
import { readRlRecords } from '@quaver/rl/node';
import { rlModel } from './rl-model.ts';

export interface RlComparisonOptions {
  readonly config: RlConfig;
  /** By name, with choices changed where wanted: `fp8-block+kv-cache=fp8`. */
  readonly recipes: readonly string[];
  readonly modes: readonly RlConfig['mode'][];
  readonly seeds: readonly number[];
  /** Where every run gets a folder of its own; runs that are there already are gone on with. */
  readonly folder: string;
  /** The HTML report. */
  readonly output: string;
  readonly executor?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** @param run such as `fp8-block-unified-0` */
  readonly onEvent?: (event: RlEvent, run: string) => void;
}

export interface RlComparison {
  /** Sampled over all runs. */
  readonly tokens: number;
  readonly rows: readonly RlRow[];
}

/**
 * Runs the same task with several recipes, and writes a report that shows them side by side.
 * @throws QuaverError as `rlModel`, and as `writeFileAtomically` for the report
 */
export async function compareRl(options: RlComparisonOptions): Promise<RlComparison> {
  const { config, recipes, modes, seeds, folder, output, onEvent, executor, threads, signal } = options;
  const shared = {
    ...(executor === undefined ? {} : { executor }),
    ...(threads === undefined ? {} : { threads }),
    ...(signal ? { signal } : {}),
  };
  // What is wrong with one of them is found before hours went into the others.
  for (const recipe of recipes) checkRecipe(recipeOf(parseRlConfig({ ...config, recipe })));
  const runs: ReportedRl[] = [];
  // One recipe after the other within a seed, so that an interrupted comparison still compares.
  for (const seed of seeds) {
    for (const mode of modes) {
      for (const recipe of recipes) {
        const name = `${recipe}-${mode}-${seed}`;
        const place = path.join(folder, name);
        const own = parseRlConfig({ ...config, recipe, mode, seed });
        const result = await rlModel({
          ...shared,
          config: own,
          folder: place,
          resume: await exists(path.join(place, 'config.json')),
          onEvent: (event) => onEvent?.(event, name),
        });
        const records = await readRlRecords(place);
        const { bytes_per_parameter, roofline, memory_bytes: memoryBytes } = result;
        // With what the configuration says about the cache, attention and lm_head.
        const row = rlRow({ recipe: recipeOf(own).name, mode, seed, bytes_per_parameter }, records);
        runs.push({ row, records, roofline, memoryBytes });
      }
    }
  }
  const bytes = new TextEncoder().encode(renderRlComparison(runs));
  await writeFileAtomically(output, once(bytes), bytes.byteLength);
  const rows = runs.map(({ row }) => row);
  return { tokens: rows.reduce((sum, { tokens }) => sum + tokens, 0), rows };
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
