/** @file The peak of resident memory of whole training processes, against what `quaver train --dry-run` says before. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { TrainingPlan } from '@quaver/sdk/node';
import { afterAll, expect, it } from 'vitest';
import { quaver, quaverJson, removeFolder, temporaryFolder } from './run-quaver.ts';
import { tinyModel, tinyTraining } from './train-runs.ts';

const folder = temporaryFolder();
afterAll(() => removeFolder(folder));

/** Writes the peak of the process, in bytes, when it ends. */
const meter = `data:text/javascript,${encodeURIComponent(`
  import { writeFileSync } from 'node:fs';
  process.on('exit', () => writeFileSync(process.env.PEAK_FILE, String(1024 * process.resourceUsage().maxRSS)));
`)}`;

/** 28 million parameters. */
const model = {
  ...tinyModel,
  hidden_size: 512,
  intermediate_size: 1536,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 64,
  max_position_embeddings: 512,
};

it.each([
  ['fp8-block', 'none', 4, 256],
  ['bf16', 'cheap', 2, 128],
  ['fp8-delayed', 'layers', 8, 256],
  ['f32', 'none', 1, 64],
])(
  '%s, remat %s, %i rows of %i tokens: within 15 percent',
  { timeout: 400_000 },
  async (recipe, remat, rows, tokens) => {
    const at = path.join(folder, recipe);
    const config = tinyTraining(at, {
      model: { config: model, tokenizer: 'tokenizer', seed: 1 },
      ...{ recipe, remat, steps: 2 },
      batch: { rows, tokens },
      evaluate: { every: 2, batches: 1 },
      checkpoint: { every: 2 },
    });
    const run = path.join(at, 'run');
    const args = ['train', '--config', config, '--out', run, '--threads', '2'];
    const { total, items } = await quaverJson<TrainingPlan>([...args, '--dry-run']);
    expect(existsSync(run)).toBe(false);
    expect(items.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total);

    const env = { PEAK_FILE: path.join(at, 'peak'), NODE_OPTIONS: `--import=${meter}` };
    const { code, stderr } = await quaver([...args, '-q'], { env });
    expect([code, stderr]).toEqual([0, '']);
    const peak = Number(readFileSync(env.PEAK_FILE, 'utf8'));
    process.stdout.write(`${recipe}: predicted ${(total / 1e6).toFixed(0)} MB, found ${(peak / 1e6).toFixed(0)} MB\n`);
    expect(Math.abs(total / peak - 1)).toBeLessThan(0.15);
  },
);
