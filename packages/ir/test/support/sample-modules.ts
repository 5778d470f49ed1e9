/** Modules that the tests of files, text, verifier and fuzzing share. */
import { createHash } from 'node:crypto';
import {
  coreOps,
  type Dim,
  type DType,
  dtypeBytes,
  GraphBuilder,
  type GraphFunction,
  type Module,
  memoryData,
  type Parameter,
  planMemory,
  type StateVariable,
  type SymbolicDim,
  tensorType,
} from '@quaver/ir';

const coreOp = (name: string) => coreOps.latest('core', name);

/** Bytes that look random and are the same on every run. */
export function noise(length: number, seed: string): Uint8Array {
  const words = new Int32Array(Math.ceil(length / 4));
  let x = createHash('sha256').update(seed).digest().readInt32LE() | 1;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return new Uint8Array(words.buffer).slice(0, length);
}

export function parameter(name: string, dtype: DType, shape: readonly number[], trainable = true): Parameter {
  const bytes = shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
  return { name, type: { dtype, shape }, data: memoryData(noise(bytes, name)), trainable };
}

export function state(name: string, dtype: DType, shape: readonly Dim[]): StateVariable {
  return { name, type: tensorType(dtype, shape) };
}

export const symbols: readonly SymbolicDim[] = [
  { name: 'B', min: 1, max: 8, multiple: 1 },
  { name: 'T', min: 0, max: Number.POSITIVE_INFINITY, multiple: 1 },
  { name: 'S', min: 128, max: 2048, multiple: 128 },
];

export function moduleOf(functions: readonly GraphFunction[], parts: Partial<Module> = {}): Module {
  return {
    name: 'sample',
    symbols,
    parameters: [],
    states: [],
    functions,
    metadata: {},
    attachments: new Map(),
    ...parts,
  };
}

/** y = x + w: two dozen lines of text. */
export function tinyModule(): Module {
  const w = parameter('w', 'f32', [4]);
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', ['B', 4]);
  const wide = g.op('broadcast_in_dim', [g.parameter(w)], { shape: ['B', 4], dims: [1] });
  g.output('y', g.op('add', [x, wide]));
  return moduleOf([g.finish()], { name: 'tiny', parameters: [w] });
}

/** Everything a module can hold: FP8, several results, absent operands, state, a plan, text in many scripts. */
export function richModule(): Module {
  const weight = parameter('layers.0.q_proj.weight', 'f8e4m3fn', [128, 64]);
  const weightScale = parameter('layers.0.q_proj.weight_scale', 'f32', [1, 1]);
  const table = parameter('rope/cos "é" 表', 'bf16', [3, 5], false);
  const empty = parameter('empty', 'f32', [0, 7]);
  const cache = state('cache.k', 'bf16', ['B', 'S', 2, 64]);
  const history = state('amax history', 'f32', [16]);

  const g = new GraphBuilder('prefill');
  const x = g.input('x', 'bf16', ['B', 'T', 64]);
  const position = g.input('position', 'i32', ['B']);
  const rows = g.op(
    'reshape',
    [x],
    { shape: ['B*T', 64] },
    { location: 'layers.0', annotations: { precision: 'fp8', 'a "b"': '\n\t' } },
  );
  const [q, scale] = g.scope('layers.0', () =>
    g.scope('q_proj', () =>
      g.apply(coreOp('dynamic_quantize'), [rows], { to: 'f8e4m3fn', block: [1, 64], max: 448, rounding: 'pow2_up' }),
    ),
  );
  const w = g.parameter(weight);
  const y = g.op('scaled_dot', [q, w, scale, g.parameter(weightScale)], {
    ...{ lhs_block: [1, 64], rhs_block: [128, 64], lhs_contract: [1], rhs_contract: [1] },
  });
  const plain = g.op('scaled_dot', [q, w], {
    ...{ lhs_block: [], rhs_block: [], lhs_contract: [1], rhs_contract: [1] },
  });
  const sum = g.op('add', [y, plain]);
  const k = g.convert(g.op('reshape', [sum], { shape: ['B', 'T', 2, 64] }), 'bf16');
  const updated = g.op('dynamic_update_slice', [g.state(cache), k, position], { axis: 1 });
  g.update(cache, updated);
  g.update(history, g.constant(-0, 'f32', [16]));
  g.output('y', sum);
  g.output('the scale', scale!);
  const floor = g.constant(Number.NEGATIVE_INFINITY, 'f32', []);
  g.output('nan', g.op('maximum', [floor, g.constant(Number.NaN)]));
  const prefill = planMemory(g.finish());

  const h = new GraphBuilder('weird name');
  h.parameter(table);
  h.parameter(empty);
  const mask = h.op('compare', [h.input('a', 'i32', ['T']), h.input('b', 'i32', ['T'])], { direction: 'LT' });
  h.output('mask', h.op('not', [mask]));
  return moduleOf([prefill, h.finish()], {
    name: 'rich "module" – ü 🎵',
    parameters: [weight, weightScale, table, empty],
    states: [cache, history],
    metadata: { architecture: 'llama', 'chat template': '\ufeff{% for m in messages %}\n\u2028{{ m }} 🎶', '7': '' },
    attachments: new Map([
      ['tokenizer.json', memoryData(new TextEncoder().encode('{"model": {}}'))],
      ['none', memoryData(new Uint8Array(0))],
    ]),
  });
}

/** A decoder of `layers` layers: what real modules look like, about 30 nodes a layer and function. */
export function decoderModule(layers: number): Module {
  const heads = 4;
  const width = 64;
  const parameters = Array.from({ length: layers }, (_, i) => [
    parameter(`layers.${i}.norm.weight`, 'f32', [width]),
    parameter(`layers.${i}.qkv.weight`, 'f8e4m3fn', [3 * width, width]),
    parameter(`layers.${i}.qkv.scale`, 'f32', [2, 1]),
    parameter(`layers.${i}.mlp.weight`, 'bf16', [width, width]),
  ]);
  const caches = Array.from({ length: layers }, (_, i) => [
    state(`layers.${i}.k`, 'bf16', ['B', 'S', heads, width / heads]),
    state(`layers.${i}.v`, 'bf16', ['B', 'S', heads, width / heads]),
  ]);
  const build = (name: string, length: Dim) => {
    const g = new GraphBuilder(name);
    const position = g.input('position', 'i32', ['B']);
    let x = g.input('x', 'f32', ['B', length, width]);
    for (let i = 0; i < layers; i++) {
      x = g.scope(`layers.${i}`, () => decoderLayer(g, x, position, length, parameters[i]!, caches[i]!));
    }
    g.output('hidden', x);
    return planMemory(g.finish());
  };
  return moduleOf([build('prefill', 'T'), build('decode', 1)], {
    name: 'decoder',
    parameters: parameters.flat(),
    states: caches.flat(),
    metadata: { architecture: 'decoder', layers: String(layers) },
  });

  function decoderLayer(
    g: GraphBuilder,
    x: ReturnType<GraphBuilder['input']>,
    position: typeof x,
    length: Dim,
    [norm, qkv, qkvScale, mlp]: readonly Parameter[],
    [kCache, vCache]: readonly StateVariable[],
  ) {
    const normed = g.op('rms_norm', [x, g.parameter(norm!)], { eps: 1e-6 });
    const rows = g.op('reshape', [normed], { shape: [length === 1 ? 'B' : 'B*T', width] });
    const [q8, scale] = g.apply(coreOp('dynamic_quantize'), [rows], {
      ...{ to: 'f8e4m3fn', block: [1, 64], max: 448, rounding: 'pow2_up' },
    });
    const dot = g.op('scaled_dot', [q8, g.parameter(qkv!), scale, g.parameter(qkvScale!)], {
      ...{ lhs_block: [1, 64], rhs_block: [128, 64], lhs_contract: [1], rhs_contract: [1] },
    });
    const part = (from: number) => {
      const rowCount = length === 1 ? 'B' : 'B*T';
      const slice = g.op('slice', [dot], { start: [0, from], limit: [rowCount, from + width], stride: [1, 1] });
      return g.convert(g.op('reshape', [slice], { shape: ['B', length, heads, width / heads] }), 'bf16');
    };
    const q = part(0);
    const k = g.op('dynamic_update_slice', [g.state(kCache!), part(width), position], { axis: 1 });
    const v = g.op('dynamic_update_slice', [g.state(vCache!), part(2 * width), position], { axis: 1 });
    g.update(kCache!, k);
    g.update(vCache!, v);
    const attended = g.op('attention', [q, k, v, position], { scale: 0.25, probs: 'bf16' });
    const joined = g.convert(g.op('reshape', [attended], { shape: ['B', length, width] }), 'bf16');
    const out = g.op('dot_general', [joined, g.parameter(mlp!)], { lhs_contract: [2], rhs_contract: [1] });
    return g.op('add', [x, g.op('silu', [out])]);
  }
}
