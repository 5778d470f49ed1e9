import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builtInRecipes, parseRecipe, type Recipe, resolveRecipe, rowInvariance, withOptions } from '../src/index.ts';
import { globPattern, keepMatcher } from '../src/recipe/keep-rules.ts';

const block = builtInRecipes.get('fp8-block')!;
type Json = { [key: string]: Json | unknown };

/** `fp8-block` as JSON with the field at a path set, or removed when the value is undefined. */
function changed(path: string, value: unknown): unknown {
  const copy: Json = JSON.parse(JSON.stringify(block));
  const keys = path.split('.');
  const last = keys.pop()!;
  const parent = keys.reduce((node, key) => node[key] as Json, copy);
  parent[last] = value;
  return JSON.parse(JSON.stringify(copy));
}

describe('built-in recipes', () => {
  it('are the table of the numerics document', () => {
    const table = [...builtInRecipes.values()].map(({ name, generate, train }) => {
      const describePhase = ({ linear }: Recipe['generate']) => {
        if (typeof linear === 'string') return linear;
        return Object.values(linear)
          .map(({ format, granularity, scale, history }) => {
            const size = typeof granularity === 'string' ? granularity : granularity.block.join('x');
            return `${format} ${size} ${scale.rounding} ${scale.dtype}${history ? ` ${history.length} ${history.algorithm}` : ''}`;
          })
          .join(' | ');
      };
      return [name, describePhase(generate), describePhase(train)];
    });
    const pow2 = (size: string) => `f8e4m3fn ${size} pow2_up f32`;
    const exact = (size: string, format = 'f8e4m3fn') => `${format} ${size} none f32`;
    const mx = 'f8e4m3fn 1x32 pow2_up f8e8m0fnu';
    const fp8Block = [pow2('1x128'), pow2('128x128'), pow2('1x128')].join(' | ');
    const blockF32 = [exact('1x128'), exact('128x128'), exact('1x128')].join(' | ');
    const tensor = [exact('tensor'), exact('tensor'), exact('tensor', 'f8e5m2')].join(' | ');
    const delayed = [`${exact('delayed')} 1024 max`, exact('tensor'), `${exact('delayed', 'f8e5m2')} 1024 max`].join(
      ' | ',
    );
    const row = [exact('row'), exact('row'), exact('row')].join(' | ');
    expect(table).toEqual([
      ['fp8-block', fp8Block, fp8Block],
      ['fp8-block-f32', blockF32, blockF32],
      ['fp8-tensor', tensor, tensor],
      ['fp8-delayed', delayed, delayed],
      ['fp8-row', row, row],
      ['mxfp8', [mx, mx, mx].join(' | '), [mx, mx, mx].join(' | ')],
      ['bf16', 'bf16', 'bf16'],
      ['f32', 'f32', 'f32'],
      ['fp8-generate-only', fp8Block, 'bf16'],
    ]);
  });

  it('survive JSON and their own validation', () => {
    for (const recipe of builtInRecipes.values())
      expect(parseRecipe(JSON.parse(JSON.stringify(recipe)))).toEqual(recipe);
  });

  it('are row-invariant, except fp8-tensor, which says why not', () => {
    for (const recipe of builtInRecipes.values()) {
      const { rowInvariant, why } = rowInvariance(recipe, ['generate', 'train']);
      expect([recipe.name, rowInvariant]).toEqual([recipe.name, recipe.name !== 'fp8-tensor']);
      if (!rowInvariant) expect(why).toContain('per tensor');
    }
  });
});

describe('parseRecipe', () => {
  it('fills in defaults, so that a short file is enough', () => {
    const linear = { input: { format: 'f8e4m3fn', granularity: 'row', scale: { rounding: 'none' } } };
    const phase = { linear: { ...linear, weight: linear.input, grad_output: linear.input } };
    const recipe = parseRecipe({ name: 'mine', generate: phase, train: { linear: 'bf16' } });
    expect(recipe).toMatchObject({ keep: [], embedding: 'bf16', description: '' });
    expect(recipe.generate).toMatchObject({ kv_cache: 'bf16', attention: 'bf16' });
    expect(recipe.generate.linear).toMatchObject({ input: { scale: { rounding: 'none', dtype: 'f32' } } });
  });

  const wrong: [string, unknown, RegExp][] = [
    ['not an object', 5, /recipe: .*expected object/i],
    ['a missing field', changed('train', undefined), /train: .*expected object/i],
    ['an unknown field', changed('kvcache', 'fp8'), /recipe: unknown field kvcache/],
    [
      'an unknown format',
      changed('generate.linear.input.format', 'fp8'),
      /generate\.linear\.input\.format: expected one of f8e4m3fn, f8e5m2/,
    ],
    [
      'an unknown word for a linear layer',
      changed('train.linear', 'fp16'),
      /train\.linear: expected one of f32, bf16, or train\.linear: .*object/,
    ],
    [
      'a block of three',
      changed('generate.linear.weight.granularity', { block: [1, 2, 3] }),
      /generate\.linear\.weight\.granularity\.block: /,
    ],
    [
      'a negative block',
      changed('generate.linear.weight.granularity', { block: [-1, 2] }),
      /generate\.linear\.weight\.granularity\.block\.0: /,
    ],
    ['a keep rule without a condition', changed('keep', [{ precision: 'bf16' }]), /keep\.0\.match: .*first_layers/s],
    ['too many asterisks', changed('keep', [{ match: '*a'.repeat(9) }]), /8 asterisks/],
    [
      'an E8M0 scale without rounding',
      changed('generate.linear.input.scale', { rounding: 'none', dtype: 'f8e8m0fnu' }),
      /generate\.linear\.input\.scale\.rounding/,
    ],
    [
      'delayed weights',
      changed('generate.linear.weight.granularity', 'delayed'),
      /generate\.linear\.weight\.granularity is delayed/,
    ],
    [
      'delayed inputs without a history',
      changed('generate.linear.input.granularity', 'delayed'),
      /generate\.linear\.input\.history/,
    ],
    [
      'blocks that do not divide',
      changed('generate.linear.input.granularity', { block: [1, 48] }),
      /generate\.linear: blocks of 48 \(input\) and 128 \(weight\)/,
    ],
    ['an f32 cache for bf16 attention', changed('train.kv_cache', 'f32'), /train\.kv_cache is f32/],
    ['FP8 attention over a bf16 cache', changed('train.attention', 'fp8'), /FP8 cache/],
  ];
  for (const [what, source, message] of wrong) {
    it(`refuses ${what}, naming the path`, () => {
      expect(() => parseRecipe(source)).toThrow(
        expect.objectContaining({ code: 'recipe-invalid', message: expect.stringMatching(message) }),
      );
    });
  }

  it('names the recipes when there is no such one', () => {
    expect(() => resolveRecipe('fp9')).toThrow(
      expect.objectContaining({ code: 'recipe-unknown', hint: expect.stringContaining('fp8-generate-only') }),
    );
  });
});

describe('withOptions', () => {
  it('changes both phases, and says so in the name', () => {
    const recipe = withOptions('fp8-block', { kvCache: 'fp8' });
    expect(recipe.name).toBe('fp8-block+kv-cache=fp8');
    expect([recipe.generate.kv_cache, recipe.train.kv_cache]).toEqual(['fp8', 'fp8']);
  });

  it('keeps FP8 out of training when the phases differ on purpose', () => {
    const recipe = withOptions('fp8-generate-only', { attention: 'fp8' });
    expect([recipe.generate.kv_cache, recipe.generate.attention]).toEqual(['fp8', 'fp8']);
    expect([recipe.train.kv_cache, recipe.train.attention]).toEqual(['bf16', 'bf16']);
  });

  it('frees lm_head and leaves the other rules', () => {
    expect(withOptions('fp8-block', { lmHead: 'fp8' }).keep.map((rule) => 'match' in rule && rule.match)).toEqual([
      '*.router',
      '*.mlp.gate',
      '*.self_attn.{k,v}_proj',
      false,
    ]);
    expect(withOptions('fp8-block', { lmHead: 'f32' }).keep[0]).toEqual({ match: 'lm_head', precision: 'f32' });
  });

  it('knows recipes by the names that it gives them', () => {
    const name = 'fp8-block+kv-cache=fp8+attention=fp8+lm-head=fp8';
    const recipe = withOptions('fp8-block', { kvCache: 'fp8', attention: 'fp8', lmHead: 'fp8' });
    expect(recipe.name).toBe(name);
    expect(resolveRecipe(name)).toEqual(recipe);
    expect(resolveRecipe('bf16')).toBe(builtInRecipes.get('bf16'));
  });

  it.each([
    'fp8-block+',
    'fp8-block+kv-cache',
    'fp8-block+kv-cache=int8',
    'bf16+cache=fp8',
    'fp9+kv-cache=fp8',
    'bf16+constructor=fp8',
    'bf16+kv-cache=fp8=fp8',
    'bf16+kv-cache=fp8+kv-cache=bf16',
  ])('refuses %s', (name) => {
    expect(() => resolveRecipe(name)).toThrow(expect.objectContaining({ code: 'recipe-unknown' }));
  });

  it('gives the recipe itself without options, and refuses what does not go together', () => {
    expect(withOptions('bf16', {})).toBe(builtInRecipes.get('bf16'));
    expect(() => withOptions('f32', { kvCache: 'fp8' })).toThrow(expect.objectContaining({ code: 'recipe-invalid' }));
  });
});

describe('keep rules', () => {
  it('of the block recipes keep keys, values and the last layer; other recipes quantize them', () => {
    const kept = (name: string) => {
      const keeps = keepMatcher(builtInRecipes.get(name)!.keep, 4);
      return ['0.self_attn.q_proj', '0.self_attn.k_proj', '2.self_attn.v_proj', '2.mlp.up_proj', '3.mlp.up_proj'].map(
        (location) => keeps(`model.layers.${location}`) !== undefined,
      );
    };
    for (const name of ['fp8-block', 'fp8-block-f32', 'fp8-generate-only']) {
      expect(kept(name), name).toEqual([false, true, true, false, true]);
    }
    for (const name of ['fp8-row', 'fp8-tensor', 'fp8-delayed', 'mxfp8']) {
      expect(kept(name), name).toEqual([false, false, false, false, false]);
    }
  });

  it('match whole locations with *, ? and {a,b}', () => {
    const cases: [glob: string, location: string, matches: boolean][] = [
      ['lm_head', 'lm_head', true],
      ['lm_head', 'model.lm_head', false],
      ['*.layers.{0,1}.*', 'model.layers.1.mlp.up_proj', true],
      ['*.layers.{0,1}.*', 'model.layers.11.mlp.up_proj', false],
      ['model.layers.?.mlp.*', 'model.layers.3.mlp.up_proj', true],
      ['model.layers.?.mlp.*', 'model.layers.13.mlp.up_proj', false],
      ['a.b', 'aXb', false],
      ['*.q_proj', 'model.layers.0.self_attn.q_proj', true],
      ['(a|b)+', 'a', false],
    ];
    for (const [glob, location, matches] of cases)
      expect([glob, location, globPattern(glob).test(location)]).toEqual([glob, location, matches]);
  });

  it('count layers from both ends; the first rule that matches wins', () => {
    const match = keepMatcher(
      [
        { first_layers: 1, precision: 'f32' },
        { last_layers: 2, precision: 'bf16' },
        { match: '*', precision: 'f32' },
      ],
      10,
    );
    expect(match('model.layers.0.mlp.up_proj')).toEqual({ precision: 'f32', rule: 'first 1 layers' });
    expect(match('model.layers.8.mlp.up_proj')).toEqual({ precision: 'bf16', rule: 'last 2 layers' });
    expect(match('model.layers.7.mlp.up_proj')).toEqual({ precision: 'f32', rule: '*' });
  });
});

describe('docs/recipes.md', () => {
  it('holds recipes that are valid', () => {
    const text = readFileSync(new URL('../../../docs/recipes.md', import.meta.url), 'utf8');
    const blocks = [...text.matchAll(/```json\n([\s\S]*?)```/g)].map((match) => JSON.parse(match[1]!));
    expect(blocks.length).toBeGreaterThan(0);
    for (const source of blocks) expect(parseRecipe(source).name).toBe(source.name);
  });
});
