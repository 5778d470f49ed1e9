import { expect, test } from 'vitest';
import { adamw, optimizerGroups, parseTrainConfig, trainingModule } from '../../src/index.ts';
import { tinyLlama } from './tiny-run.ts';

const optimizerOf = (optimizer: object) =>
  parseTrainConfig({
    ...{ model: 'm.qvr', data: { files: 'a' }, steps: 1, batch: { rows: 1, tokens: 8 }, schedule: { peak: 1 } },
    optimizer,
  }).optimizer;

test('muon moves hidden matrices; embeddings, the head and vectors are AdamW’s', () => {
  const optimizer = optimizerGroups(optimizerOf({ name: 'muon', weight_decay: 0.1 }), ['*norm.weight'], []);
  const { optimizerStates, trained, scalars } = trainingModule(tinyLlama({ tie_word_embeddings: false }), {
    optimizer,
  });
  const moved = (prefix: string) =>
    optimizerStates.flatMap(({ name }) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
  expect(moved('muon.momentum.')).toEqual(trained.filter((name) => /_proj\.weight$/.test(name)));
  expect(moved('muon.momentum.')).toHaveLength(14);
  expect(moved('adamw.v.').sort()).toEqual(['lm_head.weight', 'model.embed_tokens.weight']);
  expect(moved('muon.v.')).toEqual(trained.filter((name) => /norm\.weight$/.test(name)));
  // β2 of the configuration is that of all of them.
  const { correction2 } = adamw({ beta2: 0.95 }).scalars(7);
  const corrections = Object.entries(scalars(7)).filter(([name]) => name.startsWith('correction2'));
  expect(new Set(corrections.map(([, value]) => value))).toEqual(new Set([correction2]));
});

test('weights decay in the groups that shall, of every optimizer', () => {
  for (const name of ['adamw', 'sgd', 'adafactor', 'muon']) {
    const of = optimizerGroups(optimizerOf({ name, weight_decay: 0.1 }), ['*norm.weight'], ['*.q_proj.weight']);
    const [embedding, matrix, norm, frozen] = ['embed_tokens', 'up_proj', 'norm', 'x.q_proj'].map((layer) =>
      of({ name: `model.${layer}.weight` } as Parameters<typeof of>[0]),
    );
    expect(frozen).toBeUndefined();
    expect(norm).not.toBe(matrix);
    expect(embedding === matrix, name).toBe(name !== 'muon');
  }
});
