import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readModuleFile } from '@quaver/ir/node';
import { expect, test } from 'vitest';
import { modelConfig, tokenizerFiles } from '../src/index.ts';
import { modelPath } from '../src/node.ts';

const file = modelPath();

test('the file is in the package, takes at most 4 MB, and is the one that ORIGIN.md describes', () => {
  expect(file).toBe(path.resolve(import.meta.dirname, '../model/arithmetic.qvr'));
  const bytes = readFileSync(file);
  expect(bytes.length).toBeLessThanOrEqual(4e6);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const origin = readFileSync(path.join(path.dirname(file), 'ORIGIN.md'), 'utf8');
  expect(origin).toContain(`| sha256 | \`${sha256}\` |`);
  expect(origin).toContain(`| bytes | ${bytes.length} |`);
});

test('it is a module of this design that is not compiled, with FP8 weights and its tokenizer', async () => {
  await using module = await readModuleFile(file);
  expect([module.name, module.metadata.lowered]).toEqual(['arithmetic', undefined]);
  const attached = async (name: string) => new TextDecoder().decode(await module.attachments.get(name)?.read());
  expect(JSON.parse(await attached('config.json'))).toEqual(modelConfig);
  for (const [name, bytes] of tokenizerFiles()) expect(await attached(name)).toBe(new TextDecoder().decode(bytes));
  const trainable = module.parameters.filter((parameter) => parameter.trainable);
  // As FP8 what fp8-block quantizes: q, o, gate, up and down of 3 layers. As BF16 the table, k and v there, and the last layer.
  const count = (dtype: string) => trainable.filter(({ type }) => type.dtype === dtype).length;
  expect([count('f8e4m3fn'), count('bf16'), count('f32')]).toEqual([15, 1 + 3 * 2 + 7, 4 * 2 + 1]);
});
