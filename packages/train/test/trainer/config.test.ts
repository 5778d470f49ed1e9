import { expect, test } from 'vitest';
import { parseTrainConfig } from '../../src/index.ts';

const minimal = {
  model: 'm.qvr',
  data: { files: 'a.jsonl' },
  steps: 10,
  batch: { rows: 1, tokens: 8 },
  schedule: { peak: 1 },
};

function problemOf(changes: object): string {
  try {
    parseTrainConfig({ ...minimal, ...changes });
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint: string };
    expect(code).toBe('train-config-invalid');
    return `${message.replace('the configuration is not valid: ', '')} / ${hint}`;
  }
  return 'nothing';
}

test('defaults are filled in', () => {
  expect(parseTrainConfig(minimal)).toMatchObject({
    recipe: 'fp8-block',
    optimizer: { name: 'adamw', weight_decay: 0.1 },
    schedule: { decay: 'cosine', warmup: 0, floor: 0.1 },
    data: { align: 128, too_long: 'error' },
    batch: { accumulate: 1 },
    checkpoint: { keep_last: 2, keep_best: 1 },
    max_skipped: 10,
  });
  expect(problemOf({})).toBe('nothing');
});

test('AdamW has the same defaults, named or not; only the others keep their weights by default', () => {
  const { optimizer } = parseTrainConfig(minimal);
  expect(optimizer).toEqual({ name: 'adamw', beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 });
  const named = (name: string) => parseTrainConfig({ ...minimal, optimizer: { name } }).optimizer;
  expect(named('adamw')).toEqual(optimizer);
  for (const name of ['sgd', 'adafactor', 'muon']) expect(named(name).weight_decay).toBe(0);
  expect(named('muon')).toMatchObject({ beta1: 0.9, beta2: 0.95 });
});

test.each([
  [{ stepz: 1 }, /^config: unknown field stepz \/ Fields of config: model, data, steps, epochs, batch, recipe, /],
  [{ steps: 'x' }, /^steps: .*expected number, received string/],
  [{ steps: 0 }, /^steps: .*>=1/],
  [{ epochs: 1.5 }, /^epochs: .*expected int/],
  [{ epochs: 0 }, /^epochs: .*>=1/],
  [
    { batch: { rows: 99_999_999_999, tokens: 8 } },
    /^batch: rows of 799999999992 tokens together, expected up to 4194304/,
  ],
  [{ optimizer: { name: 'adam' } }, /^optimizer\.name: .*'adamw' \| 'sgd' \| 'adafactor' \| 'muon'/],
  [
    { optimizer: { name: 'sgd', beta1: 0.9 } },
    /^optimizer: unknown field beta1 \/ Fields of optimizer: name, momentum, nesterov, weight_decay\.$/,
  ],
  [
    { model: { config: 'a', tokenizer: 'b', zeed: 1 } },
    /^model: unknown field zeed \/ .*: config, tokenizer, name, seed\.$/,
  ],
  [
    { data: { files: 'a', vallidation: 'b' } },
    /^data: unknown field vallidation \/ .*files, format, separator, validation/,
  ],
  [{ data: { files: 'a', too_long: 'cut' } }, /^data\.too_long: expected one of error, truncate, skip \//],
  [{ data: { generate: { module: 'm' } } }, /^data\.generate\.count: .*expected number, received undefined \//],
  [{ data: 'x' }, /^data: .*expected object/],
  [{ schedule: { decay: 'exp', peak: 1 } }, /^schedule\.decay: expected one of constant, linear, cosine, wsd/],
  [{ remat: 'all' }, /^remat: expected one of none, cheap, layers/],
  // What cannot be together.
  [{ evaluate: { every: 1 } }, /^evaluate: there is no data\.validation/],
  [{ data: { generate: { module: 'm', count: 1 } }, evaluate: { every: 1 } }, /no data\.generate\.validation/],
  [{ early_stop: { patience: 1 } }, /^early_stop: it needs evaluate/],
  [{ schedule: { peak: 1, warmup: 11 } }, /^schedule\.warmup is 11, expected a whole number up to 10/],
  [{ schedule: { peak: 1, cooldown: 2 } }, /^schedule\.cooldown: it goes with the decay wsd only/],
  [{ schedule: { peak: 1, decay: 'wsd', warmup: 8, cooldown: 5 } }, /^schedule\.cooldown is 5, expected .*warm-up/],
])('%j', (changes, expected) => {
  expect(problemOf(changes)).toMatch(expected);
});
