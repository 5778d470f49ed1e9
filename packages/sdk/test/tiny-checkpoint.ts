/** @file Checkpoints of tiny real models, made of the goldens of `@quaver/models` and a tokenizer of ours. */
import { cpSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

export function temporaryFolder(): string {
  return mkdtempSync(path.join(tmpdir(), 'quaver-sdk-'));
}

export function tinyCheckpoint(folder: string, model = 'smollm2'): string {
  const checkpoint = path.join(folder, model);
  const data = pathOf(`../../models/test/data/tiny/${model}`);
  for (const name of ['config.json', 'model.safetensors']) {
    cpSync(path.join(data, name), path.join(checkpoint, name));
  }
  cpSync(pathOf('data/tokenizer'), checkpoint, { recursive: true });
  return checkpoint;
}
