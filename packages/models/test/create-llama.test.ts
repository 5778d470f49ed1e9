import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openCheckpoint } from '@quaver/formats/node';
import {
  bindType,
  byteCount,
  evaluateDim,
  findFunction,
  type HostTensor,
  interpretFunction,
  type Module,
  printModule,
  verifyModule,
  viewHostArray,
} from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLlama, importModel } from '../src/index.ts';

const data = new URL('./data/tiny/', import.meta.url);
const bytesOf = (name: string) => new Uint8Array(readFileSync(new URL(name, data)));
const configOf = (name: string) => JSON.parse(readFileSync(new URL(`${name}/config.json`, data), 'utf8'));

/** 2 layers, hidden 64, vocabulary 256. */
const small = {
  architectures: ['LlamaForCausalLM'],
  vocab_size: 256,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  tie_word_embeddings: false,
  eos_token_id: 3,
};

async function floats(module: Module, name: string): Promise<Float32Array> {
  const bytes = await module.parameters.find((parameter) => parameter.name === name)!.data!.read();
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

async function digest(module: Module): Promise<string> {
  const hash = createHash('sha256');
  for (const { name, trainable, data: bytes } of module.parameters) {
    if (trainable) hash.update(name).update(await bytes!.read());
  }
  return hash.digest('hex');
}

describe.each(['llama2', 'llama2-linear', 'llama3', 'smollm2', 'qwen2', 'qwen3', 'mistral'])('%s', (name) => {
  test('from its configuration is the module that its checkpoint gives', async () => {
    const checkpoint = await openCheckpoint(new URL(`${name}/`, data).pathname);
    const imported = (await importModel(checkpoint, checkpoint.assets, { name: 'same', dtype: 'f32', context: 20 }))
      .module;
    const created = createLlama(configOf(name), { seed: 1, name: 'same', context: 20 });
    verifyModule(created);
    const text = (module: Module) => printModule({ ...module, attachments: new Map() });
    expect(text(created)).toBe(text(imported));
    const described = ({ parameters, states, symbols, metadata, attachments }: Module) => ({
      parameters: parameters.map(({ data: bytes, ...rest }) => ({ ...rest, byteLength: bytes!.byteLength })),
      ...{ states, symbols, metadata, attachments: [...attachments.keys()] },
    });
    expect(described(created)).toEqual(described(imported));
    for (const table of ['model.rope.cos', 'model.rope.sin']) {
      expect(await floats(created, table)).toEqual(await floats(imported, table));
    }
    const config = await created.attachments.get('config.json')!.read();
    expect(JSON.parse(new TextDecoder().decode(config))).toEqual(configOf(name));
    await checkpoint.close();
  });
});

describe('the weights', () => {
  // From tools/goldens/created_llama.py, which has none of this code.
  test.each([
    [0, false, '5365f3b8231d062e5fd947b2d8946a057f6b3f817817510d7f98d2a241cb0f06'],
    [2 ** 52 + 1, true, '4c099903c53bcc65175acd07e72b099f9affd17984696c4a7d675c248cfb473c'],
  ])('of seed %d (tied: %s) are these bits, on every machine', async (seed, tie_word_embeddings, sha256) => {
    expect(await digest(createLlama({ ...small, tie_word_embeddings }, { seed }))).toBe(sha256);
  });

  test('have the moments of their distributions', async () => {
    const layers = 8;
    const config = { ...small, num_hidden_layers: layers, model_type: 'qwen3', architectures: ['Qwen3ForCausalLM'] };
    const module = createLlama({ ...config, attention_bias: true, mlp_bias: true }, { seed: 11 });
    for (const { name, type, trainable } of module.parameters) {
      if (!trainable) continue;
      const values = await floats(module, name);
      if (name.endsWith('.bias')) expect(values.every((value) => value === 0)).toBe(true);
      else if (type.shape.length === 1) expect(values.every((value) => value === 1)).toBe(true);
      else {
        const deviation = /(o_proj|down_proj)\.weight$/.test(name) ? 0.02 / 4 : 0.02;
        const moment = (power: number) =>
          values.reduce((sum, value) => sum + (value / deviation) ** power, 0) / values.length;
        // Mean, variance and fourth moment of n normal numbers have the variances 1/n, 2/n and 96/n.
        expect(Math.abs(moment(1)), name).toBeLessThan(4.5 * Math.sqrt(1 / values.length));
        expect(Math.abs(moment(2) - 1), name).toBeLessThan(4.5 * Math.sqrt(2 / values.length));
        expect(Math.abs(moment(4) - 3), name).toBeLessThan(4.5 * Math.sqrt(96 / values.length));
      }
    }
  });

  test('follow initializer_range', async () => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const [one, half, none] = [0.02, 0.01, 0].map((initializer_range) =>
      createLlama({ ...small, initializer_range }, { seed: 7 }),
    ) as [Module, Module, Module];
    expect((await floats(half, name)).map((value) => 2 * value)).toEqual(await floats(one, name));
    expect((await floats(none, name)).every((value) => value === 0)).toBe(true);
  });

  test('are the same when they are read again, and others in every tensor and for every seed', async () => {
    const module = createLlama(small, { seed: 3 });
    const matrices = module.parameters.filter(({ type, trainable }) => trainable && type.shape.length === 2);
    const beginnings = new Set<string>();
    for (const of of [module, createLlama(small, { seed: 4 })]) {
      for (const { name } of matrices) beginnings.add((await floats(of, name)).slice(0, 8).join());
    }
    expect(beginnings.size).toBe(2 * matrices.length);
    for (const { name } of matrices) expect(await floats(module, name)).toEqual(await floats(module, name));
  });

  test('reading stops at an abort', async () => {
    const [table] = createLlama(small, { seed: 3 }).parameters;
    await expect(table!.data!.read(AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('a tensor that no buffer can hold is named', async () => {
    const [table] = createLlama({ ...small, vocab_size: 1e6, hidden_size: 1e6 }, { seed: 3 }).parameters;
    await expect(table!.data!.read()).rejects.toMatchObject({
      code: 'model-tensor-too-large',
      where: { tensor: 'model.embed_tokens.weight' },
    });
  });
});

test('files travel in the module, and name the tokens that end a text', async () => {
  const file = (value: object) => new TextEncoder().encode(JSON.stringify(value));
  const files = new Map([
    ['tokenizer.json', file({ version: '1.0' })],
    ['generation_config.json', file({ eos_token_id: [5, 6] })],
  ]);
  const module = createLlama(small, { seed: 0, files });
  expect([...module.attachments.keys()]).toEqual(['tokenizer.json', 'generation_config.json', 'config.json']);
  expect(await module.attachments.get('tokenizer.json')!.read()).toEqual(files.get('tokenizer.json'));
  expect(module.metadata['model.eos_token_ids']).toBe('[5,6]');
  expect(createLlama(small, { seed: 0 }).metadata['model.eos_token_ids']).toBe('[3]');
});

describe('what cannot be is named', () => {
  test.each([
    [{ hidden_size: undefined }, 'tiny.json: hidden_size is missing'],
    [{ hidden_size: 62.5 }, 'tiny.json: hidden_size is 62.5'],
    [{ num_hidden_layers: 0 }, 'tiny.json: num_hidden_layers is 0'],
    [{ num_key_value_heads: 3 }, 'key/value heads is 3, expected a divisor of 4'],
    [{ num_attention_heads: 64, num_key_value_heads: 64 }, 'head dimension is 1, expected an even number'],
    [{ tie_word_embeddings: 'yes' }, 'tiny.json: tie_word_embeddings is "yes", expected true or false'],
    [{ initializer_range: -1 }, 'tiny.json: initializer_range is -1'],
    [{ initializer_range: '0.02' }, 'tiny.json: initializer_range is "0.02"'],
  ])('%o', (change, message) => {
    const create = () => createLlama({ ...small, ...change }, { seed: 0, source: 'tiny.json' });
    expect(create).toThrow(message);
    expect(create).toThrow(expect.objectContaining({ code: 'model-config-invalid' }));
  });

  test.each([
    [{ seed: -1 }, 'model-seed-invalid'],
    [{ seed: 0.5 }, 'model-seed-invalid'],
    [{ seed: 2 ** 53 }, 'model-seed-invalid'],
    [{ seed: 0, context: 0 }, 'model-context-invalid'],
    [{ seed: 0, files: new Map([['vocab.txt', bytesOf('llama2/config.json')]]) }, 'model-file-unknown'],
    [{ seed: 0, files: new Map([['config.json', bytesOf('llama2/config.json')]]) }, 'model-file-unknown'],
    [{ seed: 0, files: new Map([['generation_config.json', new Uint8Array([0x7b])]]) }, 'model-json-invalid'],
  ])('%o', (options, code) => {
    expect(() => createLlama(small, options)).toThrow(expect.objectContaining({ code }));
  });
});

/** Runs `prefill` on the reference interpreter with an empty cache. */
async function prefill(module: Module, tokens: readonly number[]): Promise<Record<string, HostTensor>> {
  const parameters = new Map<string, HostTensor>();
  for (const { name, type, data: bytes } of module.parameters) {
    parameters.set(name, { type, data: viewHostArray(type.dtype, await bytes!.read()) });
  }
  const symbols = { B: 1, T: tokens.length, C: tokens.length };
  const i32 = (shape: number[], values: readonly number[]): HostTensor => ({
    type: { dtype: 'i32', shape },
    data: Int32Array.from(values),
  });
  return interpretFunction(findFunction(module, 'prefill')!, {
    inputs: {
      tokens: i32([1, tokens.length], tokens),
      position: i32([1], [0]),
      last: i32([1], [tokens.length - 1]),
    },
    parameters: (name) => parameters.get(name)!,
    states: (name) => {
      const { type } = module.states.find((state) => state.name === name)!;
      const zeros = new Uint8Array(evaluateDim(byteCount(type), symbols));
      return { type: bindType(type, symbols), data: viewHostArray(type.dtype, zeros) };
    },
  }).outputs;
}

const configs = fc
  .record({
    architecture: fc.constantFrom('LlamaForCausalLM', 'MistralForCausalLM', 'Qwen2ForCausalLM', 'Qwen3ForCausalLM'),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    half: fc.integer({ min: 1, max: 4 }),
    sizes: fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 2, max: 40 })),
    layers: fc.integer({ min: 1, max: 3 }),
    flags: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    window: fc.option(fc.integer({ min: 1, max: 5 }), { nil: null }),
  })
  .map(({ architecture, kvHeads, group, half, sizes, layers, flags, window }) => ({
    architectures: [architecture],
    num_key_value_heads: kvHeads,
    num_attention_heads: kvHeads * group,
    head_dim: 2 * half,
    hidden_size: sizes[0],
    intermediate_size: sizes[1],
    vocab_size: sizes[2],
    num_hidden_layers: layers,
    tie_word_embeddings: flags[0],
    attention_bias: flags[1],
    mlp_bias: flags[2],
    sliding_window: window,
    max_position_embeddings: 16,
  }));

test('any configuration gives a valid module whose prefill gives a distribution', async () => {
  await fc.assert(
    fc.asyncProperty(
      configs,
      fc.maxSafeNat(),
      fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
      async (config, seed, ids) => {
        const module = createLlama(config, { seed });
        verifyModule(module);
        const { logits, logprobs } = await prefill(
          module,
          ids.map((id) => id % config.vocab_size),
        );
        expect(logits!.type.shape).toEqual([1, config.vocab_size]);
        expect([...logits!.data].every(Number.isFinite)).toBe(true);
        const total = [...logprobs!.data].reduce((sum, value) => sum + Math.exp(value), 0);
        expect(Math.abs(total - 1)).toBeLessThan(1e-5);
      },
    ),
  );
});
