/** Each rule of the semantic verifier, broken once; and that it accepts what is valid, quickly. */
import {
  type Dim,
  GraphBuilder,
  type GraphFunction,
  type MemoryPlan,
  type Module,
  memoryData,
  type Node,
  planMemory,
  type TensorType,
  type Value,
  verifyModule,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomModule } from './support/random-module.ts';
import {
  decoderModule,
  moduleOf,
  parameter,
  richModule,
  state,
  symbols,
  tinyModule,
} from './support/sample-modules.ts';

function refusal(module: Module): QuaverError | undefined {
  try {
    verifyModule(module);
    return undefined;
  } catch (error) {
    if (error instanceof QuaverError) return error;
    throw error;
  }
}

const type = (dtype: TensorType['dtype'], ...shape: Dim[]): TensorType => ({ dtype, shape });
const result = (name: string, of: TensorType): Value => ({ kind: 'result', name, type: of, ref: undefined });
const input = (name: string, of: TensorType): Value => ({ ...result(name, of), kind: 'input' });

const x = input('x', type('f32', 'B', 4));
const a = result('a', x.type);
const b = result('b', x.type);
const weight = parameter('weight', 'f32', [4]);
const cache = state('cache', 'f32', ['B', 4]);

function negate(operand: Value | undefined, made: Value, rest: Partial<Node> = {}): Node {
  return {
    ...{ domain: 'core', op: 'negate', version: 1, operands: [operand], results: [made] },
    ...{ attributes: {}, location: '', annotations: {}, ...rest },
  };
}

/** a = -x, b = -a, returned; parts may be replaced. */
function chain(parts: Partial<GraphFunction> = {}): Module {
  const fn: GraphFunction = {
    ...{ name: 'f', inputs: [x], parameters: [], states: [], nodes: [negate(x, a), negate(a, b)] },
    ...{ outputs: [{ name: 'y', value: b }], updates: [], plan: undefined, ...parts },
  };
  return moduleOf([fn], { parameters: [weight], states: [cache] });
}

const plan = (slots: Dim[], slotOf: Record<string, number>): Partial<GraphFunction> => ({ plan: { slots, slotOf } });
const foreign = input('foreign', x.type);

describe('valid modules are accepted', () => {
  test.each([tinyModule(), richModule(), decoderModule(2), chain(), moduleOf([])])('$name', (module) => {
    verifyModule(module);
  });

  test('random ones', () => {
    let nodes = 0;
    fc.assert(
      fc.property(randomModule, (module) => {
        nodes += module.functions.reduce((sum, fn) => sum + fn.nodes.length, 0);
        verifyModule(module);
      }),
      { numRuns: 300 },
    );
    expect(nodes).toBeGreaterThan(1000);
  });

  test('1,500 nodes in less than 100 ms', () => {
    const module = decoderModule(36);
    expect(module.functions.reduce((sum, fn) => sum + fn.nodes.length, 0)).toBeGreaterThan(1500);
    // Processor time, and the best of several: other work on the machine does not count.
    const times = Array.from({ length: 12 }, () => {
      const start = process.cpuUsage();
      verifyModule(module);
      return process.cpuUsage(start).user / 1000;
    });
    expect(Math.min(...times)).toBeLessThan(100);
  });
});

describe('values', () => {
  test.each<[string, string, Partial<GraphFunction>]>([
    [
      'verify-single-producer',
      'function f, node 1 (core.negate@1), value %a: it is defined twice',
      { nodes: [negate(x, a), negate(a, a)] },
    ],
    ['verify-single-producer', 'function f, value %x: it is defined twice', { inputs: [x, x] }],
    [
      'verify-order',
      'function f, node 0 (core.negate@1), value %a: it is used before node 1 defines it',
      { nodes: [negate(a, b), negate(x, a)] },
    ],
    ['verify-order', 'value %a: it is used before node 0 defines it', { nodes: [negate(a, a)] }],
    ['verify-undefined-value', 'value %foreign: it does not belong to this function', { nodes: [negate(foreign, b)] }],
    ['verify-undefined-value', 'value %foreign', { outputs: [{ name: 'y', value: foreign }] }],
    ['verify-undefined-value', 'value %x', { nodes: [negate({ ...x }, b)] }],
    ['verify-duplicate-name', "the value name 'x' exists twice", { nodes: [negate(x, { ...b, name: 'x' })] }],
    ['verify-name', 'value %a b', { nodes: [negate(x, { ...b, name: 'a b' })] }],
    ['verify-name', 'a value name must be', { nodes: [negate(x, { ...b, name: '' })] }],
    ['verify-kind', "its kind is 'input' where 'result' belongs", { nodes: [negate(x, { ...b, kind: 'input' })] }],
    ['verify-kind', "its kind is 'result' where 'input' belongs", { inputs: [a] }],
    [
      'verify-duplicate-name',
      "the output 'y' exists twice",
      {
        outputs: [
          { name: 'y', value: a },
          { name: 'y', value: b },
        ],
      },
    ],
  ])('%s: %s', (code, message, parts) => {
    const error = refusal(chain(parts));
    expect(error?.message).toContain(message);
    expect(error?.code).toBe(code);
  });
});

describe('nodes', () => {
  const at = { location: 'layers.3.mlp' };
  test.each<[string, string, Node]>([
    [
      'op-unknown',
      'function f, node 0 (core.nagate@1 at layers.3.mlp): unknown op core.nagate@1',
      negate(x, b, { op: 'nagate', ...at }),
    ],
    ['op-unknown', 'unknown op core.negate@2', negate(x, b, { version: 2 })],
    ['op-unknown', 'unknown op other.negate@1', negate(x, b, { domain: 'other' })],
    [
      'verify-types',
      'value %b: its type is f32[B,5] but the op gives f32[B,4]',
      negate(x, { ...b, type: type('f32', 'B', 5) }),
    ],
    [
      'verify-types',
      'its type is bf16[B,4] but the op gives f32[B,4]',
      negate(x, { ...b, type: type('bf16', 'B', 4) }),
    ],
    ['verify-types', 'its type is f32[B,4,1]', negate(x, { ...b, type: type('f32', 'B', 4, 1) })],
    ['verify-types', 'function f, node 0 (core.add@1): ', negate(x, b, { op: 'add' })],
    ['verify-types', 'operand', negate(undefined, b)],
    ['verify-attributes', "op negate has no attribute 'axis'", negate(x, b, { attributes: { axis: 1 } })],
    [
      'verify-attributes',
      "the attribute 'saturate' is not stored",
      negate(x, b, { op: 'convert', attributes: { to: 'f32' } }),
    ],
    [
      'verify-attributes',
      "attribute 'to' of op convert",
      negate(x, b, { op: 'convert', attributes: { to: 7, saturate: true } }),
    ],
    [
      'verify-attributes',
      'has 2000 items',
      negate(x, b, { op: 'reduce', attributes: { axes: new Array(2000).fill(0), kind: 'max', keep: false } }),
    ],
    ['verify-results', 'it has 2 results, the op gives 1', negate(x, b, { results: [a, b] })],
    ['verify-results', 'it has 0 results', negate(x, b, { results: [] })],
    ['verify-symbol', 'mentions the undeclared symbol Q', negate(x, { ...b, type: type('f32', 'Q') })],
    ['verify-symbol', 'symbol Q', negate(x, b, { op: 'reshape', attributes: { shape: ['Q', 'B*4'] } })],
    ['verify-dim', "'4*B*T*2' is not a dimension in canonical form", negate(x, { ...b, type: type('f32', '4*B*T*2') })],
    ['verify-dim', "'-1' is not a dimension", negate(x, { ...b, type: type('f32', -1) })],
    ['verify-dim', "'1.5' is not a dimension", negate(x, { ...b, type: type('f32', 1.5) })],
    [
      'verify-type',
      'rank 17 is above the limit of 16',
      negate(x, { ...b, type: type('f32', ...new Array(17).fill(1)) }),
    ],
    ['verify-type', "unknown dtype 'f64'", negate(x, { ...b, type: { dtype: 'f64' as 'f32', shape: [] } })],
    ['verify-size', 'takes 18446744073709551616 bytes', negate(x, { ...b, type: type('f32', 2 ** 31, 2 ** 31, 'B') })],
  ])('%s: %s', (code, message, node) => {
    const error = refusal(chain({ nodes: [node], outputs: [] }));
    expect(error?.message).toContain(message);
    expect(error?.code).toBe(code);
  });

  test('errors carry the place as data', () => {
    const error = refusal(chain({ nodes: [negate(x, { ...b, type: type('f32') }, at)] }));
    expect(error?.where).toEqual({ function: 'f', node: 0, op: 'core.negate@1', location: 'layers.3.mlp', value: 'b' });
  });

  test('whatever a type rule throws names the node', () => {
    const node = negate(x, b, { op: 'transpose', attributes: { permutation: [1e15, -1] } });
    expect(refusal(chain({ nodes: [node] }))?.code).toBe('verify-types');
  });
});

describe('parameters, states and symbols', () => {
  const p = (ref: string | undefined, of = type('f32', 4)): Value => ({ kind: 'parameter', name: 'p', type: of, ref });
  const s = (ref: string | undefined, of = cache.type): Value => ({ kind: 'state', name: 's', type: of, ref });

  test.each<[string, string, Module]>([
    ['verify-reference', "the module has no parameter 'none'", chain({ parameters: [p('none')] })],
    ['verify-reference', "the module has no parameter ''", chain({ parameters: [p(undefined)] })],
    [
      'verify-reference',
      "its type is f32[5] but the parameter 'weight' is f32[4]",
      chain({ parameters: [p('weight', type('f32', 5))] }),
    ],
    ['verify-reference', "the module has no state 'weight'", chain({ states: [s('weight')] })],
    ['verify-reference', 'the state', chain({ states: [s('cache', type('f32', 'T', 4))] })],
    ['verify-update', "it updates the state 'none'", chain({ updates: [{ target: 'state', name: 'none', value: a }] })],
    [
      'verify-update',
      "the state 'cache' is updated twice",
      chain({
        updates: [
          { target: 'state', name: 'cache', value: a },
          { target: 'state', name: 'cache', value: b },
        ],
      }),
    ],
    [
      'verify-update',
      "its type is f32[4] but the state 'cache' is f32[B,4]",
      chain({ parameters: [p('weight')], updates: [{ target: 'state', name: 'cache', value: p('weight') }] }),
    ],
    [
      'verify-update',
      "it updates the parameter 'cache', which does not exist",
      chain({ updates: [{ target: 'parameter', name: 'cache', value: a }] }),
    ],
    [
      'verify-update',
      "its type is f32[B,4] but the parameter 'weight' is f32[4]",
      chain({ updates: [{ target: 'parameter', name: 'weight', value: a }] }),
    ],
    ['verify-duplicate-name', "the parameter 'weight' exists twice", { ...chain(), parameters: [weight, weight] }],
    ['verify-duplicate-name', "the state 'cache' exists twice", { ...chain(), states: [cache, cache] }],
    [
      'verify-duplicate-name',
      "the function 'f' exists twice",
      { ...chain(), functions: [...chain().functions, ...chain().functions] },
    ],
    ['verify-duplicate-name', "the symbol 'B' exists twice", { ...chain(), symbols: [...symbols, symbols[0]!] }],
    [
      'verify-parameter',
      "the parameter 'weight' is f32[4], 16 bytes, but its data has 15",
      { ...chain(), parameters: [{ ...weight, data: memoryData(new Uint8Array(15)) }] },
    ],
    [
      'verify-parameter',
      'has the symbolic type f32[B]',
      { ...chain(), parameters: [{ ...weight, type: type('f32', 'B') as typeof weight.type }] },
    ],
    [
      'verify-symbol',
      'symbol Z has the range 5..4',
      { ...chain(), symbols: [...symbols, { name: 'Z', min: 5, max: 4, multiple: 1 }] },
    ],
    ['verify-symbol', 'multiple 0', { ...chain(), symbols: [...symbols, { name: 'Z', min: 0, max: 4, multiple: 0 }] }],
    [
      'verify-symbol',
      'range NaN',
      { ...chain(), symbols: [...symbols, { name: 'Z', min: Number.NaN, max: 4, multiple: 1 }] },
    ],
    [
      'verify-symbol',
      "'2x' is not a symbol name",
      { ...chain(), symbols: [...symbols, { name: '2x', min: 0, max: 4, multiple: 1 }] },
    ],
    [
      'verify-symbol',
      "'ceildiv' is not a symbol name",
      { ...chain(), symbols: [...symbols, { name: 'ceildiv', min: 0, max: 4, multiple: 1 }] },
    ],
  ])('%s: %s', (code, message, module) => {
    const value = module.functions[0]?.updates.find((update) => update.value.kind === 'parameter')?.value;
    const fixed = value ? { ...module, functions: [{ ...module.functions[0]!, parameters: [value] }] } : module;
    const error = refusal(fixed);
    expect(error?.message).toContain(message);
    expect(error?.code).toBe(code);
  });

  test('a parameter beyond 2^53 bytes is compared exactly', () => {
    const huge = { ...weight, type: { dtype: 'u8' as const, shape: [2 ** 30, 2 ** 24] } };
    expect(refusal({ ...chain(), parameters: [{ ...huge, data: undefined }] })?.code).toBe('verify-size');
  });
});

describe('memory plans', () => {
  const unused = result('unused', x.type);
  const withUnused = { nodes: [negate(x, a), negate(a, unused), negate(a, b)] };

  test.each<[string, MemoryPlan['slots'], MemoryPlan['slotOf'], Partial<GraphFunction>]>([
    ['one slot each', ['16*B', '16*B'], { a: 0, b: 1 }, {}],
    ['a larger slot with the same symbols', ['99*B'], { a: 0 }, {}],
    ['a fixed slot for the largest size', [16 * 8], { a: 0 }, {}],
    ['values that follow each other', ['16*B'], { unused: 0, b: 0 }, withUnused],
    ['values without a slot', [], {}, {}],
  ])('%s is valid', (_, slots, slotOf, parts) => {
    verifyModule(chain({ ...plan([...slots], slotOf), ...parts }));
  });

  test.each<[string, string, MemoryPlan['slots'], MemoryPlan['slotOf'], Partial<GraphFunction>]>([
    [
      'a result in the slot of its operand',
      'function f, node 1, value %b: it is made while %a still lives in the same slot 0',
      ['16*B'],
      { a: 0, b: 0 },
      {},
    ],
    [
      'a value that nobody reads, written over a live one',
      'it is made while %a still lives',
      ['16*B'],
      { a: 0, unused: 0 },
      withUnused,
    ],
    [
      'an output that is overwritten',
      '%a still lives',
      ['16*B'],
      { a: 0, b: 0 },
      {
        nodes: [negate(x, a), negate(x, b)],
        outputs: [
          { name: 'a', value: a },
          { name: 'b', value: b },
        ],
      },
    ],
    ['a slot that is too small', 'it needs 16*B bytes but its slot has 15*B', ['15*B'], { a: 0 }, {}],
    ['a fixed slot that is too small', 'it needs 16*B bytes but its slot has 127', [127], { a: 0 }, {}],
    ['a slot with other symbols', 'its slot has 16*T', ['16*T'], { a: 0 }, {}],
    ['a slot that does not exist', 'slot 1 does not exist: the plan has 1', ['16*B'], { a: 1 }, {}],
    ['a slot index that is no index', 'slot 0.5 does not exist', ['16*B'], { a: 0.5 }, {}],
    ['an input with a slot', '%x: it has a slot but is not the result of a node', ['16*B'], { x: 0 }, {}],
    ['an unknown value with a slot', '%constructor: it has a slot', ['16*B'], { constructor: 0 }, {}],
    ['an undeclared symbol', 'undeclared symbol Q', ['16*Q'], {}, {}],
  ])('%s is refused', (_, message, slots, slotOf, parts) => {
    const error = refusal(chain({ ...plan([...slots], slotOf), ...parts }));
    expect(error?.message).toContain(message);
    expect(error?.code).toMatch(/^verify-(plan|symbol)$/);
  });

  test('the planner makes valid ones', () => {
    const g = new GraphBuilder('f');
    let value = g.input('x', 'f32', ['B', 'T']);
    for (let i = 0; i < 50; i++) value = g.op(i % 3 === 0 ? 'exp' : 'add', i % 3 === 0 ? [value] : [value, value]);
    g.output('y', value);
    const fn = planMemory(g.finish());
    expect(fn.plan!.slots.length).toBeLessThan(5);
    verifyModule(moduleOf([fn]));
  });
});
