import { compile, withKvCache, withOptions } from '@quaver/compiler';
import { Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import {
  findFunction,
  GraphBuilder,
  type HostTensor,
  type Module,
  parseModule,
  printFunction,
  printModule,
  readModuleBytes,
  type Value,
  verifyModule,
  writeModuleBytes,
} from '@quaver/ir';
import { createLlama } from '@quaver/models';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pagedCache } from '../../src/index.ts';
import { bits } from '../support/tiny-models.ts';

const vocabulary = 48;
const config = {
  architectures: ['MistralForCausalLM'],
  model_type: 'mistral',
  vocab_size: vocabulary,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
};
const model = createLlama(config, { seed: 3 });
const windowed = createLlama({ ...config, sliding_window: 21 }, { seed: 4 });
const everythingFp8 = withOptions('fp8-block', { kvCache: 'fp8', attention: 'fp8' });

/** The module, and how it gets its pages where that is not by `pagedCache` alone. */
const variants: readonly [string, () => Promise<Module>, ((module: Module) => Promise<Module>)?][] = [
  ['in f32, not compiled', async () => model],
  ['in f32, with a window', async () => windowed],
  ['in bf16', async () => (await compile(windowed, { recipe: 'bf16' })).module],
  ['in FP8, cache and attention too', async () => (await compile(model, { recipe: everythingFp8 })).module],
  [
    'in FP8, compiled in pages',
    async () => (await compile(model, { recipe: everythingFp8 })).module,
    async () => (await compile(pagedCache(model), { recipe: everythingFp8 })).module,
  ],
  [
    'in FP8, with its cache in BF16 later',
    async () => (await compile(model, { recipe: withOptions('fp8-block', { kvCache: 'bf16' }) })).module,
    async () => withKvCache(pagedCache((await compile(model, { recipe: everythingFp8 })).module), 'bf16'),
  ],
];

const ints = (shape: readonly number[], values: ArrayLike<number>): HostTensor => ({
  type: { dtype: 'i32', shape },
  data: Int32Array.from(values),
});
const vector = (...values: readonly number[]) => ints([values.length], values);
const matrix = (rows: readonly (readonly number[])[]) => ints([rows.length, rows[0]!.length], rows.flat());

const rowsOf = (tensor: HostTensor) =>
  Array.from({ length: tensor.type.shape[0]! }, (_, row) => {
    const width = tensor.data.length / tensor.type.shape[0]!;
    return bits(tensor.data.subarray(row * width, (row + 1) * width));
  });
/** Per row, the bits of everything that a call says. */
const told = ({ logits, logprobs }: Record<string, HostTensor>) => {
  const parts = [logits, logprobs].filter((tensor) => tensor !== undefined).map(rowsOf);
  return parts[0]!.map((_, row) => parts.map((part) => part[row]));
};

async function openSession(module: Module, functions = ['prefill', 'decode', 'score']) {
  const executor = await cpuPlugin.open();
  const session = await Session.open(module, executor, { functions });
  const close = async () => {
    await session[Symbol.asyncDispose]();
    await executor[Symbol.asyncDispose]();
  };
  return { session, [Symbol.asyncDispose]: close };
}

/** What an unpaged cache says of one sequence: after its prompt, after each further token, and of each token it holds. */
async function alone(session: Session, prompt: readonly number[], further: readonly number[]) {
  const state = session.createState({ B: 1, C: 64 });
  const last = vector(prompt.length - 1);
  const steps = [
    told(await session.run('prefill', { tokens: matrix([prompt]), position: vector(0), last }, { state })),
  ];
  for (const [i, token] of further.entries()) {
    const position = vector(prompt.length + i);
    steps.push(told(await session.run('decode', { tokens: matrix([[token]]), position }, { state })));
  }
  const tokens = [...prompt, ...further];
  const scored = { tokens: matrix([tokens]), targets: matrix([tokens.toReversed()]), position: vector(0) };
  const scores = told(await session.run('score', scored, { state: session.createState({ B: 1, C: 64 }) }));
  return { steps: steps.map(([row]) => row), scores: scores[0] };
}

const tokenList = (length: fc.Arbitrary<number>) =>
  length.chain((n) => fc.array(fc.nat(vocabulary - 1), { minLength: n, maxLength: n }));
/** Pages of a cache of 20, in any order: up to four each for three rows. */
const pageOrder = fc.shuffledSubarray(
  Array.from({ length: 20 }, (_, i) => i),
  { minLength: 12, maxLength: 12 },
);

describe.each(variants)('a model %s', (_, make, page = async (module: Module) => pagedCache(module)) => {
  test('says the same bit for bit with its cache in pages, in any order, at mixed lengths', async () => {
    const module = await make();
    const paged = await page(module);
    verifyModule(paged);
    await using plain = await openSession(module);
    await using inPages = await openSession(paged);
    const { session } = inPages;
    const prompts = fc.tuple(...[1, 2, 3].map(() => tokenList(fc.integer({ min: 1, max: 40 }))));
    const further = fc.tuple(...[1, 2, 3].map(() => tokenList(fc.constant(18))));
    await fc.assert(
      fc.asyncProperty(prompts, further, pageOrder, async (prompt, more, order) => {
        const expected = await Promise.all(prompt.map((tokens, row) => alone(plain.session, tokens, more[row]!)));
        const pages = matrix([0, 1, 2].map((row) => order.slice(4 * row, 4 * row + 4)));
        const state = session.createState({ P: 20 });
        const longest = Math.max(...prompt.map(({ length }) => length));
        const padded = (lists: readonly (readonly number[])[], length: number) =>
          matrix(lists.map((list) => [...list, ...Array<number>(length - list.length).fill(0)]));
        const last = vector(...prompt.map(({ length }) => length - 1));
        const inputs = { tokens: padded(prompt, longest), position: vector(0, 0, 0), last, pages };
        const first = told(await session.run('prefill', inputs, { state }));
        expect(first).toEqual(expected.map(({ steps }) => steps[0]));
        for (let i = 0; i < 18; i++) {
          const position = vector(...prompt.map(({ length }) => length + i));
          const tokens = matrix(more.map((list) => [list[i]!]));
          const next = told(await session.run('decode', { tokens, position, pages }, { state }));
          expect(next, `step ${i}`).toEqual(expected.map(({ steps }) => steps[i + 1]));
        }
        for (const row of [0, 1, 2]) {
          // Again from the first token on, over what its pages hold, in two parts.
          const tokens = [...prompt[row]!, ...more[row]!];
          const targets = tokens.toReversed();
          const half = Math.ceil(tokens.length / 2);
          const own = matrix([order.slice(4 * row, 4 * row + 4)]);
          const part = (from: number, to: number) =>
            session.run(
              'score',
              {
                tokens: matrix([tokens.slice(from, to)]),
                targets: matrix([targets.slice(from, to)]),
                position: vector(from),
                pages: own,
              },
              { state },
            );
          const [a, b] = [await part(0, half), await part(half, tokens.length)];
          expect([[...bits(a.logprobs!.data), ...bits(b.logprobs!.data)]]).toEqual(expected[row]!.scores);
        }
      }),
      { numRuns: 3 },
    );
  });

  test('lets sequences share the pages of what they have in common', async () => {
    const module = await make();
    await using plain = await openSession(module);
    await using inPages = await openSession(await page(module));
    const { session } = inPages;
    const prefix = Array.from({ length: 32 }, (_, i) => (7 * i + 5) % vocabulary);
    const tails = [
      [3, 1, 4],
      [2, 7, 1],
    ];
    const expected = await Promise.all(tails.map((tail) => alone(plain.session, prefix, tail)));
    const state = session.createState({ P: 4 });
    const common = { tokens: matrix([prefix]), position: vector(0), last: vector(31), pages: matrix([[3, 1]]) };
    expect(told(await session.run('prefill', common, { state }))).toEqual([expected[0]!.steps[0]]);
    const pages = matrix([
      [3, 1, 0],
      [3, 1, 2],
    ]);
    for (const i of [0, 1, 2]) {
      const tokens = matrix(tails.map((tail) => [tail[i]!]));
      const next = told(await session.run('decode', { tokens, position: vector(32 + i, 32 + i), pages }, { state }));
      expect(next).toEqual(expected.map(({ steps }) => steps[i + 1]));
    }
  });
});

test('a row without pages changes nothing', async () => {
  const { states } = await (async () => {
    await using inPages = await openSession(pagedCache(model), ['decode']);
    const { session } = inPages;
    const state = session.createState({ P: 2 }, ['decode']);
    await session.run(
      'decode',
      { tokens: matrix([[1], [2]]), position: vector(3, 0), pages: matrix([[-1], [2]]) },
      { state },
    );
    return { states: await Promise.all(session.module.states.map(({ name }) => session.readState(state, name))) };
  })();
  expect(states.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
});

test('only the functions that generate change: their caches are pages, and N covers what C did', async () => {
  const { module } = await compile(model, { recipe: everythingFp8 });
  const paged = pagedCache(module, { pageTokens: 32 });
  expect(paged.parameters).toBe(module.parameters);
  expect(findFunction(paged, 'logprobs')).toBe(findFunction(module, 'logprobs'));
  expect(paged.states.slice(0, 4).map(({ type }) => `${type.dtype}[${type.shape}]`)).toEqual([
    'f8e4m3fn[P,32,2,16]',
    'f8e8m0fnu[P,32,2,1]',
    'f8e4m3fn[P,32,2,16]',
    'f8e8m0fnu[P,32,2,1]',
  ]);
  for (const name of ['prefill', 'decode', 'score']) {
    const fn = findFunction(paged, name)!;
    expect(fn.inputs.at(-1)).toMatchObject({ name: 'pages', type: { dtype: 'i32', shape: ['B', 'N'] } });
    expect(fn.nodes.filter(({ op }) => op === 'dynamic_update_slice')).toEqual([]);
    expect(fn.nodes.filter(({ op }) => op === 'paged_update')).toHaveLength(8);
  }
  expect(paged.symbols.slice(-2)).toEqual([
    { name: 'P', min: 1, max: Number.POSITIVE_INFINITY, multiple: 1 },
    { name: 'N', min: 1, max: 2, multiple: 1 },
  ]);
});

test('it is a module like any other: its text and its file say all of it', async () => {
  const paged = pagedCache((await compile(model, { recipe: everythingFp8 })).module);
  const functions = ({ functions: all }: Module) => all.map((fn) => printFunction(fn));
  expect(functions(parseModule(printModule(paged)))).toEqual(functions(paged));
  const read = readModuleBytes(await writeModuleBytes(paged));
  expect(functions(read)).toEqual(functions(paged));
  expect(read.symbols).toEqual(paged.symbols);
});

describe('a module that has no such cache', () => {
  type Misuse = (g: GraphBuilder, cache: Value, written: Value) => void;
  const state = { name: 'k_cache', type: { dtype: 'f32', shape: ['B', 'C', 2, 4] } } as const;

  function moduleOf(misuse: Misuse, other?: (g: GraphBuilder) => void): Module {
    const g = new GraphBuilder('decode');
    const x = g.input('x', 'f32', ['B', 1, 2, 4]);
    const position = g.input('position', 'i32', ['B']);
    const written = g.op('dynamic_update_slice', [g.state(state), x, position], { axis: 1 });
    g.update(state, written);
    g.output('y', g.op('attention', [x, written, written, position], { scale: 0.5, probs: 'f32' }));
    misuse(g, g.state(state), written);
    const second = new GraphBuilder('second');
    other?.(second);
    const symbol = (name: string) => ({ name, min: 1, max: 64, multiple: 1 });
    return {
      name: 'm',
      symbols: [symbol('B'), symbol('C')],
      parameters: [],
      states: [state],
      functions: [g.finish(), second.finish()],
      metadata: {},
      attachments: new Map(),
    };
  }

  const misuses: readonly [string, Misuse, ((g: GraphBuilder) => void)?][] = [
    ['reads the new contents', (g, _, written) => g.output('z', g.op('negate', [written]))],
    ['reads the old contents', (g, cache) => g.output('z', g.op('negate', [cache]))],
    ['gives the contents back', (g, _, written) => g.output('z', written)],
    ['stores the contents elsewhere', (g, _, written) => g.update({ ...state, name: 'other' }, written)],
    [
      'has half of attention elsewhere',
      (g, _, written) => {
        const v = g.input('v', 'f32', ['B', 'C', 2, 4]);
        const [x, position] = g.inputs as [Value, Value];
        g.output('z', g.op('attention', [x, written, v, position], { scale: 0.5, probs: 'f32' }));
      },
    ],
    ['reads the cache in another function', () => {}, (g) => g.output('z', g.op('negate', [g.state(state)]))],
    [
      'replaces the cache in another function',
      () => {},
      (g) => g.update(state, g.constant(0, 'f32', ['B', 'C', 2, 4])),
    ],
  ];

  test('is fine when it has', () => {
    verifyModule(pagedCache(moduleOf(() => {})));
  });

  test.each(misuses)('because it %s, is refused', (_, misuse, other) => {
    expect(() => pagedCache(moduleOf(misuse, other))).toThrow(expect.objectContaining({ code: 'paged-cache-use' }));
  });

  test('because it is in pages already, or has no function that generates, is refused', () => {
    const missing = expect.objectContaining({ code: 'paged-cache-missing' });
    expect(() => pagedCache(pagedCache(model))).toThrow(missing);
    const functions = model.functions.filter(({ name }) => name === 'logprobs');
    expect(() => pagedCache({ ...model, functions })).toThrow(missing);
  });

  test('because its symbols are in the way, is refused', () => {
    const symbols = [...model.symbols, { name: 'N', min: 1, max: 2, multiple: 1 }];
    expect(() => pagedCache({ ...model, symbols })).toThrow(expect.objectContaining({ code: 'paged-cache-symbol' }));
  });
});

test.each([0, 8, -16, 24.5, Number.NaN])('pages of %d tokens are refused', (pageTokens) => {
  expect(() => pagedCache(model, { pageTokens })).toThrow(expect.objectContaining({ code: 'page-tokens-invalid' }));
});
