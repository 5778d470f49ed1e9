import { readFileSync } from 'node:fs';
import { compile } from '@quaver/compiler';
import { encodeModule, type Module } from '@quaver/ir';
import { createLlama } from '@quaver/models';
import { beforeAll, expect, test } from 'vitest';
import { modelConfig, tokenizerFiles } from '../src/index.ts';

const created = createLlama(modelConfig, { seed: 0, name: 'arithmetic', files: tokenizerFiles() });
let lowered: Module;
beforeAll(async () => {
  lowered = (await compile(created, { recipe: 'fp8-block' })).module;
});

const elements = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);

test('2.5 million parameters', () => {
  const trained = created.parameters.filter(({ trainable }) => trainable);
  // Embeddings, and in each of 4 layers: q and o, k and v, gate, up and down, two norms; the last norm.
  const expected = 384 * 256 + 4 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256 + 2 * 256) + 256;
  expect(trained.reduce((sum, { type }) => sum + elements(type.shape), 0)).toBe(expected);
  expect(expected).toBe(2_459_904);
});

test('its projections are FP8 in full blocks, but for those that the recipe keeps', () => {
  const codes = lowered.parameters.filter(({ type }) => type.dtype === 'f8e4m3fn');
  // q, o, gate, up and down of 3 layers: the recipe keeps k and v, and the last layer.
  expect(codes).toHaveLength(15);
  for (const { name, type } of codes) {
    const sides = type.shape.filter((side) => side % 128 !== 0);
    expect(sides, name).toEqual([]);
  }
});

test('the file takes at most 4 MB as FP8, tokenizer included', () => {
  expect([...lowered.attachments.keys()]).toEqual(['tokenizer.json', 'tokenizer_config.json', 'config.json']);
  expect(encodeModule(lowered).totalBytes).toBeLessThan(4e6);
});

test('the example trains this design', () => {
  const file = new URL('../../../examples/train/tiny.json', import.meta.url);
  expect(JSON.parse(readFileSync(file, 'utf8')).model.config).toEqual(modelConfig);
});
