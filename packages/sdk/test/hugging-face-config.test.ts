import { readFileSync } from 'node:fs';
import { type LlamaConfig, llamaConfigFromHuggingFace } from '@quaver/models';
import { expect, it } from 'vitest';
import { huggingFaceConfig } from '../src/hugging-face-config.ts';
import { pathOf } from './tiny-checkpoint.ts';

const configOf = (model: string): LlamaConfig => {
  const file = pathOf(`../../models/test/data/tiny/${model}/config.json`);
  return llamaConfigFromHuggingFace(JSON.parse(readFileSync(file, 'utf8')), file);
};

it.each(['llama2', 'llama2-linear', 'llama3', 'smollm2', 'mistral', 'qwen2', 'qwen3'])('%s is read back', (model) => {
  const config = configOf(model);
  expect(llamaConfigFromHuggingFace(huggingFaceConfig(config)!, model)).toEqual(config);
});

it('says nothing where a config.json cannot say all', () => {
  const config = configOf('smollm2');
  expect(huggingFaceConfig({ ...config, qkvBias: true })).toBeUndefined();
  expect(huggingFaceConfig({ ...config, slidingWindow: [8, 8] })).toBeUndefined();
  expect(huggingFaceConfig({ ...configOf('mistral'), slidingWindow: [8, 4] })).toBeUndefined();
  expect(huggingFaceConfig({ ...configOf('qwen2'), qkvBias: false })).toBeUndefined();
});
