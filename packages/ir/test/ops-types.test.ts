import { type Attributes, bindType, coreOps, formatType } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { typeOf } from './type-text.ts';

type Case = readonly [op: string, operands: readonly (string | undefined)[], attributes: Attributes, results: string];

/** Operand types → result types, symbols included. */
const accepted: readonly Case[] = [
  ['constant', [], { value: 1.5, dtype: 'bf16', shape: ['B', 3] }, 'bf16[B,3]'],
  ['constant', [], { value: Number.NEGATIVE_INFINITY, dtype: 'f32', shape: [] }, 'f32[]'],
  ['iota', [], { dtype: 'i32', shape: ['B', 'T'], axis: 1 }, 'i32[B,T]'],
  ['convert', ['bf16[B,4]'], { to: 'f8e4m3fn' }, 'f8e4m3fn[B,4]'],
  ['negate', ['f32[B]'], {}, 'f32[B]'],
  ['abs', ['f32[B]'], {}, 'f32[B]'],
  ['exp', ['f32[B]'], {}, 'f32[B]'],
  ['log', ['f32[B]'], {}, 'f32[B]'],
  ['sqrt', ['f32[]'], {}, 'f32[]'],
  ['add', ['f32[B,T]', 'f32[B,T]'], {}, 'f32[B,T]'],
  ['subtract', ['i32[B,T]', 'i32[B,T]'], {}, 'i32[B,T]'],
  ['multiply', ['f32[2*B]', 'f32[2*B]'], {}, 'f32[2*B]'],
  ['divide', ['f32[B]', 'f32[B]'], {}, 'f32[B]'],
  ['maximum', ['f32[B]', 'f32[B]'], {}, 'f32[B]'],
  ['minimum', ['i32[B]', 'i32[B]'], {}, 'i32[B]'],
  ['compare', ['i32[B,T]', 'i32[B,T]'], { direction: 'LE' }, 'bool[B,T]'],
  ['and', ['bool[B]', 'bool[B]'], {}, 'bool[B]'],
  ['or', ['bool[B]', 'bool[B]'], {}, 'bool[B]'],
  ['not', ['bool[B]'], {}, 'bool[B]'],
  ['select', ['bool[B]', 'bf16[B]', 'bf16[B]'], {}, 'bf16[B]'],
  ['broadcast_in_dim', ['f32[T,1]'], { shape: ['B', 'T', 7], dims: [1, 2] }, 'f32[B,T,7]'],
  ['reshape', ['f32[B,T,12]'], { shape: ['B*T', 3, 4] }, 'f32[B*T,3,4]'],
  ['reshape', ['f32[2,T,B,3]'], { shape: ['6*B*T'] }, 'f32[6*B*T]'],
  ['transpose', ['bf16[B,T,4]'], { permutation: [2, 0, 1] }, 'bf16[4,B,T]'],
  ['slice', ['f32[B,10]'], { start: [0, 1], limit: ['B', 8], stride: [1, 3] }, 'f32[B,3]'],
  ['concatenate', ['f32[B,3]', 'f32[B,4]'], { axis: 1 }, 'f32[B,7]'],
  ['reduce', ['f32[B,T,5]'], { kind: 'sum', axes: [1] }, 'f32[B,5]'],
  ['reduce', ['f32[B,T,5]'], { kind: 'max', axes: [2, 0], keep: true }, 'f32[1,T,1]'],
  ['dot_general', ['bf16[B,T,8]', 'bf16[6,8]'], { lhs_contract: [2], rhs_contract: [1] }, 'f32[B,T,6]'],
  [
    'dot_general',
    ['f8e4m3fn[B,T,4,8]', 'f8e5m2[B,S,4,8]'],
    { lhs_contract: [3], rhs_contract: [3], lhs_batch: [0, 2], rhs_batch: [0, 2] },
    'f32[B,4,T,S]',
  ],
  ['gather', ['bf16[100,64]', 'i32[B,T]'], { axis: 0 }, 'bf16[B,T,64]'],
  ['gather', ['f32[B,T,100]', 'i32[B,T]'], { axis: 2, batch_dims: 2 }, 'f32[B,T]'],
  ['gather', ['f32[B,T,8]', 'i32[B]'], { axis: 1, batch_dims: 1 }, 'f32[B,8]'],
  ['dynamic_update_slice', ['bf16[B,S,4,8]', 'bf16[B,T,4,8]', 'i32[B]'], { axis: 1 }, 'bf16[B,S,4,8]'],
  ['paged_update', ['bf16[P,16,4,8]', 'bf16[B,T,4,8]', 'i32[B,N]', 'i32[B]'], {}, 'bf16[P,16,4,8]'],
  ['paged_gather', ['f8e4m3fn[P,16,4,8]', 'i32[B,N]'], {}, 'f8e4m3fn[B,16*N,4,8]'],
  ['paged_gather', ['u8[P,S]', 'i32[B,3]'], {}, 'u8[B,3*S]'],
  ['amax', ['bf16[B,T,300]'], { block: [1, 1, 128] }, 'f32[B,T,3]'],
  ['amax', ['f32[B,T,300]'], { block: [0, 128, 0] }, 'f32[1,ceildiv(T,128),1]'],
  ['compute_scale', ['f32[B,3]'], { max: 448, rounding: 'pow2_up', to: 'f8e8m0fnu' }, 'f8e8m0fnu[B,3]'],
  ['quantize', ['f32[B,300]', 'f32[B,3]'], { to: 'f8e4m3fn', block: [1, 128] }, 'f8e4m3fn[B,300]'],
  // Tokens of all sequences as one axis: its last block may be ragged whatever B and T are.
  ['amax', ['f32[64,B*T]'], { block: [1, 128] }, 'f32[64,ceildiv(B*T,128)]'],
  ['quantize', ['f32[64,B*T]', 'f32[64,ceildiv(B*T,128)]'], { to: 'f8e5m2', block: [1, 128] }, 'f8e5m2[64,B*T]'],
  [
    'scaled_dot',
    ['f8e5m2[64,B*T]', 'f8e4m3fn[48,B*T]', 'f32[64,ceildiv(B*T,128)]', 'f32[48,ceildiv(B*T,128)]'],
    { lhs_contract: [1], rhs_contract: [1], lhs_block: [1, 128], rhs_block: [1, 128] },
    'f32[64,48]',
  ],
  [
    'scaled_dot',
    ['f8e4m3fn[B*T,64]', 'f8e4m3fn[B*T,48]', 'f8e8m0fnu[ceildiv(B*T,32),64]', 'f8e8m0fnu[ceildiv(B*T,32),48]'],
    { lhs_contract: [0], rhs_contract: [0], lhs_block: [32, 1], rhs_block: [32, 1] },
    'f32[64,48]',
  ],
  [
    'stochastic_quantize',
    ['f32[B,300]', 'f32[B,3]', 'i32[1]'],
    { to: 'f8e5m2', block: [1, 128], stream: 7 },
    'f8e5m2[B,300]',
  ],
  ['dequantize', ['f8e5m2[T,32]', 'f8e8m0fnu[ceildiv(T,128),1]'], { to: 'bf16', block: [128, 0] }, 'bf16[T,32]'],
  [
    'scaled_dot',
    ['f8e4m3fn[B,T,256]', 'f8e4m3fn[64,256]', 'f32[B,T,2]', 'f32[1,2]'],
    { lhs_contract: [2], rhs_contract: [1], lhs_block: [1, 1, 128], rhs_block: [128, 128] },
    'f32[B,T,64]',
  ],
  [
    'scaled_dot',
    ['bf16[B,40]', 'f8e4m3fn[64,40]', undefined, 'f32[1,1]'],
    { lhs_contract: [1], rhs_contract: [1], rhs_block: [0, 300] },
    'f32[B,64]',
  ],
  ['softmax', ['f32[B,T]'], { axis: 1 }, 'f32[B,T]'],
  ['log_softmax', ['f32[B,T]'], { axis: 0 }, 'f32[B,T]'],
  ['log_softmax_gather', ['f32[B,T,100]', 'i32[B,T]'], {}, 'f32[B,T]'],
  ['silu', ['f32[B]'], {}, 'f32[B]'],
  ['swiglu', ['f32[B,4]', 'f32[B,4]'], {}, 'f32[B,4]'],
  ['rms_norm', ['f32[B,T,16]', 'f32[16]'], { eps: 1e-5 }, 'f32[B,T,16]'],
  ['rope', ['f32[B,T,3,8]', 'f32[50,4]', 'f32[50,4]', 'i32[B]'], {}, 'f32[B,T,3,8]'],
  ['rope', ['f32[B,T,3,8]', 'f32[50,4]', 'f32[50,4]', 'i32[B,T]'], {}, 'f32[B,T,3,8]'],
  ['bias_add', ['f32[B,T,16]', 'f32[16]'], {}, 'f32[B,T,16]'],
  ['stop_gradient', ['bf16[B,64]'], {}, 'bf16[B,64]'],
  ['scatter_add', ['f32[100,64]', 'i32[B,T]', 'f32[B,T,64]'], {}, 'f32[100,64]'],
  [
    'adamw_step',
    ['f32[4,9]', 'f32[4,9]', 'f32[4,9]', 'f32[4,9]', 'f32[1]', 'f32[1]', 'f32[1]'],
    { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 },
    'f32[4,9] f32[4,9] f32[4,9]',
  ],
  [
    'attention',
    ['bf16[B,T,4,8]', 'f8e4m3fn[B,S,2,8]', 'f8e4m3fn[B,S,2,8]', 'i32[B]', 'f8e8m0fnu[B,S,2,1]', 'f8e8m0fnu[B,S,2,1]'],
    { scale: 0.3, probs: 'bf16' },
    'f32[B,T,4,8]',
  ],
  ['attention', ['f32[B,T,4,8]', 'f32[B,T,4,8]', 'f32[B,T,4,8]', 'i32[B]'], { scale: 1, probs: 'f32' }, 'f32[B,T,4,8]'],
  [
    'attention',
    ['f32[B,T,4,8]', 'f32[B,S,4,8]', 'f32[B,S,4,8]', 'i32[B]', undefined, undefined, 'i32[B,T]'],
    { scale: 1, probs: 'f32' },
    'f32[B,T,4,8]',
  ],
  [
    'attention',
    ['f32[B,T,4,8]', 'f32[P,16,2,8]', 'f32[P,16,2,8]', 'i32[B]', undefined, undefined, undefined, 'i32[B,N]'],
    { scale: 1, probs: 'f32' },
    'f32[B,T,4,8]',
  ],
  [
    'attention',
    [
      'bf16[B,T,4,8]',
      'f8e4m3fn[P,16,2,8]',
      'f8e4m3fn[P,16,2,8]',
      'i32[B]',
      'f8e8m0fnu[P,16,2,1]',
      'f8e8m0fnu[P,16,2,1]',
      'i32[B,T]',
      'i32[B,N]',
    ],
    { scale: 1, probs: 'bf16' },
    'f32[B,T,4,8]',
  ],
  [
    'attention_grad',
    [
      'bf16[B,T,4,8]',
      'f8e4m3fn[B,S,2,8]',
      'f8e4m3fn[B,S,2,8]',
      'i32[B]',
      'f32[B,T,4,8]',
      undefined,
      undefined,
      'i32[B,T]',
    ],
    { scale: 0.3, probs: 'bf16' },
    'f32[B,T,4,8] f32[B,S,2,8] f32[B,S,2,8]',
  ],
  ['rms_norm_grad', ['f32[B,T,16]', 'f32[16]', 'f32[B,T,16]'], { eps: 1e-5 }, 'f32[B,T,16] f32[16]'],
  ['swiglu_grad', ['f32[B,T]', 'f32[B,T]', 'f32[B,T]'], {}, 'f32[B,T] f32[B,T]'],
  ['log_softmax_gather_grad', ['f32[B,T,50]', 'i32[B,T]', 'f32[B,T]'], {}, 'f32[B,T,50]'],
  [
    'dynamic_quantize',
    ['bf16[B,300]'],
    { to: 'f8e4m3fn', block: [1, 128], max: 448, rounding: 'pow2_up', scale_dtype: 'f8e8m0fnu' },
    'f8e4m3fn[B,300] f8e8m0fnu[B,3]',
  ],
];

const infer = (op: string, operands: readonly (string | undefined)[], attributes: Attributes) =>
  coreOps.latest('core', op).infer(
    operands.map((text) => (text === undefined ? undefined : typeOf(text))),
    attributes,
  );

describe('type rules', () => {
  test.each(accepted)('%s(%j) %j → %s', (op, operands, attributes, results) => {
    expect(infer(op, operands, attributes).results.map(formatType).join(' ')).toBe(results);
  });

  test('every op has an accepted case', () => {
    const covered = new Set(accepted.map(([op]) => op));
    expect(
      coreOps
        .list()
        .filter((op) => !covered.has(op.name))
        .map((op) => op.name),
    ).toEqual([]);
  });

  test.each(accepted)('%s(%j) %j: binding symbols before or after makes no difference', (op, operands, attributes) => {
    const symbols = { B: 3, T: 260, S: 9, P: 5, N: 2 };
    const bindDims = (value: Attributes[string]) =>
      Array.isArray(value) ? bindType({ dtype: 'u8', shape: value }, symbols).shape : value;
    const definition = coreOps.latest('core', op);
    const types = operands.map((text) => (text === undefined ? undefined : typeOf(text)));
    const after = definition.infer(types, attributes).results.map((type) => bindType(type, symbols));
    const before = definition.infer(
      types.map((type) => type && bindType(type, symbols)),
      Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, bindDims(value)])),
    ).results;
    expect(before).toEqual(after);
  });
});

const contract = { lhs_contract: [1], rhs_contract: [1] };
const blocks = { ...contract, lhs_block: [1, 128], rhs_block: [128, 128] };
const attend = { scale: 1, probs: 'bf16' };
const slice = (start: number, limit: number | string, stride: number) => ({
  start: [start],
  limit: [limit],
  stride: [stride],
});

type Rejected = readonly [why: string, op: string, operands: readonly (string | undefined)[], attributes: Attributes];

const rejected: readonly Rejected[] = [
  ['integer dtype, fraction', 'constant', [], { value: 0.5, dtype: 'i32', shape: [] }],
  ['out of range', 'constant', [], { value: 2, dtype: 'bool', shape: [] }],
  ['an operand', 'constant', ['f32[]'], { value: 2, dtype: 'f32', shape: [] }],
  ['dtype', 'iota', [], { dtype: 'bf16', shape: [3], axis: 0 }],
  ['axis', 'iota', [], { dtype: 'i32', shape: [3], axis: 1 }],
  ['a scalar', 'iota', [], { dtype: 'i32', shape: [], axis: 0 }],
  ['dtype pair', 'convert', ['i32[3]'], { to: 'bf16' }],
  ['dtype pair', 'convert', ['f32[3]'], { to: 'bool' }],
  ...['negate', 'abs', 'exp', 'log', 'sqrt', 'silu'].map((op): Rejected => ['dtype', op, ['bf16[3]'], {}]),
  ...['negate', 'abs', 'exp', 'log', 'sqrt', 'not', 'silu'].map((op): Rejected => ['no operand', op, [], {}]),
  ...['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'swiglu'].flatMap((op): Rejected[] => [
    ['dtype', op, ['bf16[3]', 'bf16[3]'], {}],
    ['two shapes', op, ['f32[3]', 'f32[1]'], {}],
    ['two symbols', op, ['f32[B]', 'f32[T]'], {}],
    ['two dtypes', op, ['f32[3]', 'i32[3]'], {}],
    ['one operand', op, ['f32[3]'], {}],
    ['three operands', op, ['f32[3]', 'f32[3]', 'f32[3]'], {}],
  ]),
  ['two shapes', 'compare', ['f32[3]', 'f32[4]'], { direction: 'EQ' }],
  ['dtype', 'compare', ['bool[3]', 'bool[3]'], { direction: 'EQ' }],
  ['dtype', 'and', ['i32[3]', 'i32[3]'], {}],
  ['shape', 'or', ['bool[3]', 'bool[4]'], {}],
  ['dtype', 'not', ['u8[3]'], {}],
  ['scalar pred', 'select', ['bool[]', 'f32[3]', 'f32[3]'], {}],
  ['branches differ', 'select', ['bool[3]', 'f32[3]', 'bf16[3]'], {}],
  ['pred dtype', 'select', ['i32[3]', 'f32[3]', 'f32[3]'], {}],
  ['too few dims', 'broadcast_in_dim', ['f32[3]'], { shape: [2, 3], dims: [] }],
  ['size', 'broadcast_in_dim', ['f32[3]'], { shape: [2, 4], dims: [1] }],
  ['symbol', 'broadcast_in_dim', ['f32[B]'], { shape: [2, 'T'], dims: [1] }],
  ['axis twice', 'broadcast_in_dim', ['f32[1,1]'], { shape: [2, 4], dims: [1, 1] }],
  ['axis', 'broadcast_in_dim', ['f32[3]'], { shape: [3], dims: [1] }],
  ['count', 'reshape', ['f32[3,4]'], { shape: [13] }],
  ['symbolic count', 'reshape', ['f32[B,4]'], { shape: ['4*T'] }],
  ['length', 'transpose', ['f32[3,4]'], { permutation: [0] }],
  ['twice', 'transpose', ['f32[3,4]'], { permutation: [0, 0] }],
  ['axis', 'transpose', ['f32[3,4]'], { permutation: [0, 2] }],
  ['beyond the end', 'slice', ['f32[5]'], slice(0, 6, 1)],
  ['backwards', 'slice', ['f32[5]'], slice(4, 3, 1)],
  ['negative start', 'slice', ['f32[5]'], slice(-1, 3, 1)],
  ['stride 0', 'slice', ['f32[5]'], slice(0, 3, 0)],
  ['part of a symbolic axis', 'slice', ['f32[B]'], slice(0, 1, 1)],
  ['another symbol', 'slice', ['f32[B]'], slice(0, 'T', 1)],
  ['rank', 'slice', ['f32[5,5]'], slice(0, 5, 1)],
  ['dtype', 'concatenate', ['f32[3]', 'bf16[3]'], { axis: 0 }],
  ['other axes', 'concatenate', ['f32[3,2]', 'f32[3,3]'], { axis: 0 }],
  ['symbolic axis', 'concatenate', ['f32[B]', 'f32[B]'], { axis: 0 }],
  ['axis', 'concatenate', ['f32[3]', 'f32[3]'], { axis: 1 }],
  ['dtype', 'reduce', ['bf16[3]'], { kind: 'sum', axes: [0] }],
  ['a sum of two axes', 'reduce', ['f32[3,4]'], { kind: 'sum', axes: [0, 1] }],
  ['no axes', 'reduce', ['f32[3,4]'], { kind: 'max', axes: [] }],
  ['negative axis', 'reduce', ['f32[3,4]'], { kind: 'max', axes: [-1] }],
  ['two grids', 'dot_general', ['f32[3,4]', 'bf16[3,4]'], contract],
  ['fp8 and bf16', 'dot_general', ['f8e4m3fn[3,4]', 'bf16[3,4]'], contract],
  ['dtype', 'dot_general', ['i32[3,4]', 'i32[3,4]'], contract],
  ['k', 'dot_general', ['f32[3,4]', 'f32[3,5]'], contract],
  ['two contracted axes', 'dot_general', ['f32[3,4]', 'f32[3,4]'], { lhs_contract: [0, 1], rhs_contract: [0, 1] }],
  ['unpaired batch', 'dot_general', ['f32[3,4]', 'f32[3,4]'], { ...contract, lhs_batch: [0] }],
  ['batch sizes', 'dot_general', ['f32[3,4]', 'f32[2,4]'], { ...contract, lhs_batch: [0], rhs_batch: [0] }],
  ['batch is contracted', 'dot_general', ['f32[3,4]', 'f32[3,4]'], { ...contract, lhs_batch: [1], rhs_batch: [1] }],
  ['promote', 'dot_general', ['f32[3,4]', 'f32[3,4]'], { ...contract, promote: 0 }],
  ['indices dtype', 'gather', ['f32[3]', 'f32[2]'], { axis: 0 }],
  ['axis', 'gather', ['f32[3]', 'i32[2]'], { axis: 1 }],
  ['batch_dims above axis', 'gather', ['f32[3,4]', 'i32[3]'], { axis: 0, batch_dims: 1 }],
  ['batch sizes', 'gather', ['f32[3,4]', 'i32[2]'], { axis: 1, batch_dims: 1 }],
  ['axis 0', 'dynamic_update_slice', ['f32[3,4]', 'f32[3,4]', 'i32[3]'], { axis: 0 }],
  ['dtype', 'dynamic_update_slice', ['f32[3,4]', 'bf16[3,4]', 'i32[3]'], { axis: 1 }],
  ['other axes', 'dynamic_update_slice', ['f32[3,4]', 'f32[2,4]', 'i32[3]'], { axis: 1 }],
  ['starts', 'dynamic_update_slice', ['f32[3,4]', 'f32[3,2]', 'i32[1]'], { axis: 1 }],
  ['start rank', 'dynamic_update_slice', ['f32[3,4]', 'f32[3,2]', 'i32[]'], { axis: 1 }],
  ['no slots', 'paged_update', ['f32[9]', 'f32[3,4]', 'i32[3,2]', 'i32[3]'], {}],
  ['dtype', 'paged_update', ['f32[9,4,2]', 'bf16[3,5,2]', 'i32[3,2]', 'i32[3]'], {}],
  ['other axes', 'paged_update', ['f32[9,4,2]', 'f32[3,5,1]', 'i32[3,2]', 'i32[3]'], {}],
  ['rank', 'paged_update', ['f32[9,4,2]', 'f32[3,5]', 'i32[3,2]', 'i32[3]'], {}],
  ['rows of pages', 'paged_update', ['f32[9,4,2]', 'f32[3,5,2]', 'i32[9,2]', 'i32[3]'], {}],
  ['page rank', 'paged_update', ['f32[9,4,2]', 'f32[3,5,2]', 'i32[3]', 'i32[3]'], {}],
  ['positions', 'paged_update', ['f32[9,4,2]', 'f32[3,5,2]', 'i32[3,2]', 'i32[9]'], {}],
  ['no slots', 'paged_gather', ['f32[9]', 'i32[3,2]'], {}],
  ['page dtype', 'paged_gather', ['f32[9,4]', 'f32[3,2]'], {}],
  ['dtype', 'amax', ['f8e4m3fn[3]'], { block: [1] }],
  ['block rank', 'amax', ['f32[3,4]'], { block: [128] }],
  ['negative block', 'amax', ['f32[3,4]'], { block: [1, -1] }],
  ['dtype', 'compute_scale', ['bf16[3]'], { max: 448, rounding: 'none' }],
  ['target', 'compute_scale', ['f32[3]'], { max: 448, rounding: 'none', to: 'bf16' }],
  ['e8m0 unrounded', 'compute_scale', ['f32[3]'], { max: 448, rounding: 'none', to: 'f8e8m0fnu' }],
  ['max', 'compute_scale', ['f32[3]'], { max: 0, rounding: 'none' }],
  ['max', 'compute_scale', ['f32[3]'], { max: Number.NaN, rounding: 'none' }],
  ['target', 'quantize', ['f32[3]', 'f32[1]'], { to: 'bf16', block: [0] }],
  ['scale shape', 'quantize', ['f32[B,256]', 'f32[B,1]'], { to: 'f8e4m3fn', block: [1, 128] }],
  ['scale dtype', 'quantize', ['f32[3]', 'bf16[1]'], { to: 'f8e4m3fn', block: [0] }],
  ['scale rank', 'quantize', ['f32[3]', 'f32[]'], { to: 'f8e4m3fn', block: [0] }],
  ['target', 'stochastic_quantize', ['f32[3]', 'f32[1]', 'i32[1]'], { to: 'bf16', block: [0] }],
  ['scale shape', 'stochastic_quantize', ['f32[B,256]', 'f32[B,1]', 'i32[1]'], { to: 'f8e4m3fn', block: [1, 128] }],
  ['seed shape', 'stochastic_quantize', ['f32[3]', 'f32[1]', 'i32[2]'], { to: 'f8e4m3fn', block: [0] }],
  ['seed dtype', 'stochastic_quantize', ['f32[3]', 'f32[1]', 'f32[1]'], { to: 'f8e4m3fn', block: [0] }],
  ['stream', 'stochastic_quantize', ['f32[3]', 'f32[1]', 'i32[1]'], { to: 'f8e4m3fn', block: [0], stream: -1 }],
  ['target', 'dequantize', ['f8e4m3fn[3]', 'f32[1]'], { to: 'f16', block: [0] }],
  ['dtype', 'dequantize', ['bf16[3]', 'f32[1]'], { to: 'f32', block: [0] }],
  ['scale shape', 'dequantize', ['f8e4m3fn[3]', 'f32[2]'], { to: 'f32', block: [0] }],
  ['dtype', 'scaled_dot', ['f32[3,4]', 'f8e4m3fn[3,4]'], contract],
  ['k', 'scaled_dot', ['f8e4m3fn[3,4]', 'f8e4m3fn[3,5]'], contract],
  ['scale shape', 'scaled_dot', ['f8e4m3fn[B,256]', 'f8e4m3fn[3,256]', 'f32[B,1]', 'f32[1,2]'], blocks],
  ['block without scale', 'scaled_dot', ['f8e4m3fn[B,256]', 'f8e4m3fn[3,256]', undefined, 'f32[1,2]'], blocks],
  ['scale without block', 'scaled_dot', ['f8e4m3fn[3,4]', 'f8e4m3fn[3,4]', 'f32[3,1]'], contract],
  [
    'a block that partial sums straddle',
    'scaled_dot',
    ['f8e4m3fn[3,256]', 'f8e4m3fn[3,256]', 'f32[3,2]', 'f32[3,3]'],
    { ...contract, lhs_block: [1, 128], rhs_block: [1, 96] },
  ],
  ['dtype', 'softmax', ['bf16[3]'], { axis: 0 }],
  ['axis', 'softmax', ['f32[3]'], { axis: 1 }],
  ['axis', 'log_softmax', ['f32[3]'], { axis: -1 }],
  ['targets', 'log_softmax_gather', ['f32[B,T,9]', 'i32[B]'], {}],
  ['a scalar', 'log_softmax_gather', ['f32[]', 'i32[]'], {}],
  ['integers', 'stop_gradient', ['i32[3]'], {}],
  ['updates', 'scatter_add', ['f32[3,4]', 'i32[2]', 'f32[3,4]'], {}],
  ['a scalar', 'scatter_add', ['f32[]', 'i32[2]', 'f32[2]'], {}],
  ['indices dtype', 'scatter_add', ['f32[3]', 'f32[2]', 'f32[2]'], {}],
  ['moments', 'adamw_step', ['f32[3]', 'f32[3]', 'f32[2]', 'f32[3]', 'f32[1]', 'f32[1]', 'f32[1]'], {}],
  ['rate', 'adamw_step', ['f32[3]', 'f32[3]', 'f32[3]', 'f32[3]', 'f32[3]', 'f32[1]', 'f32[1]'], {}],
  ['beta', 'adamw_step', ['f32[3]', 'f32[3]', 'f32[3]', 'f32[3]', 'f32[1]', 'f32[1]', 'f32[1]'], { beta1: 1 }],
  ['weight', 'rms_norm', ['f32[B,9]', 'f32[8]'], { eps: 0 }],
  ['symbolic axis', 'rms_norm', ['f32[B,T]', 'f32[T]'], { eps: 0 }],
  ['eps', 'rms_norm', ['f32[B,9]', 'f32[9]'], { eps: Number.NaN }],
  ['rank', 'rope', ['f32[B,T,8]', 'f32[9,4]', 'f32[9,4]', 'i32[B]'], {}],
  ['too many columns', 'rope', ['f32[B,T,2,8]', 'f32[9,5]', 'f32[9,5]', 'i32[B]'], {}],
  ['two tables', 'rope', ['f32[B,T,2,8]', 'f32[9,4]', 'f32[8,4]', 'i32[B]'], {}],
  ['positions', 'rope', ['f32[B,T,2,8]', 'f32[9,4]', 'f32[9,4]', 'i32[T]'], {}],
  [
    'shape of dy',
    'attention_grad',
    ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[B]', 'f32[B,S,4,8]'],
    attend,
  ],
  ['keys', 'attention_grad', ['bf16[B,T,4,8]', 'f32[B,S,2,8]', 'f32[B,S,2,8]', 'i32[B]', 'f32[B,T,4,8]'], attend],
  ['shape of dy', 'rms_norm_grad', ['f32[B,16]', 'f32[16]', 'f32[T,16]'], { eps: 1e-5 }],
  ['weight', 'rms_norm_grad', ['f32[B,16]', 'f32[8]', 'f32[B,16]'], { eps: 1e-5 }],
  ['shape of dy', 'swiglu_grad', ['f32[B]', 'f32[B]', 'f32[T]'], {}],
  ['shape of up', 'swiglu_grad', ['f32[B]', 'f32[T]', 'f32[B]'], {}],
  ['shape of dy', 'log_softmax_gather_grad', ['f32[B,9]', 'i32[B]', 'f32[B,9]'], {}],
  ['targets', 'log_softmax_gather_grad', ['f32[B,9]', 'i32[B,9]', 'f32[B]'], {}],
  ['position of every key', 'rope', ['f32[B,T,2,8]', 'f32[9,4]', 'f32[9,4]', 'i32[B,S]'], {}],
  ['rank of positions', 'rope', ['f32[B,T,2,8]', 'f32[9,4]', 'f32[9,4]', 'i32[B,T,2]'], {}],
  [
    'first key of every key',
    'attention',
    ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[B]', undefined, undefined, 'i32[B,S]'],
    attend,
  ],
  ['bias', 'bias_add', ['f32[B,9]', 'f32[8]'], {}],
  ['bias rank', 'bias_add', ['f32[B,9]', 'f32[B,9]'], {}],
  ['k and v', 'attention', ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,T,2,8]', 'i32[B]'], attend],
  ['heads', 'attention', ['bf16[B,T,4,8]', 'bf16[B,S,3,8]', 'bf16[B,S,3,8]', 'i32[B]'], attend],
  ['depth', 'attention', ['bf16[B,T,4,8]', 'bf16[B,S,2,6]', 'bf16[B,S,2,6]', 'i32[B]'], attend],
  ['position', 'attention', ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[T]'], attend],
  ['f32 keys, bf16 probs', 'attention', ['f32[B,T,4,8]', 'f32[B,S,2,8]', 'f32[B,S,2,8]', 'i32[B]'], attend],
  ['f32 query, bf16 keys', 'attention', ['f32[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[B]'], attend],
  [
    'bf16 keys, f32 probs',
    'attention',
    ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[B]'],
    { scale: 1, probs: 'f32' },
  ],
  [
    'scale of a bf16 cache',
    'attention',
    ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[B]', 'f32[B,S,2,1]'],
    attend,
  ],
  [
    'scale shape',
    'attention',
    ['bf16[B,T,4,8]', 'f8e5m2[B,S,2,8]', 'f8e5m2[B,S,2,8]', 'i32[B]', 'f32[B,S,1,1]'],
    attend,
  ],
  [
    'rows of pages',
    'attention',
    ['bf16[B,T,4,8]', 'bf16[P,S,2,8]', 'bf16[P,S,2,8]', 'i32[B]', undefined, undefined, undefined, 'i32[P,N]'],
    attend,
  ],
  [
    'scale without pages',
    'attention',
    ['bf16[B,T,4,8]', 'f8e5m2[P,S,2,8]', 'f8e5m2[P,S,2,8]', 'i32[B]', 'f32[B,S,2,1]', undefined, undefined, 'i32[B,N]'],
    attend,
  ],
  ['window', 'attention', ['bf16[B,T,4,8]', 'bf16[B,S,2,8]', 'bf16[B,S,2,8]', 'i32[B]'], { ...attend, window: -1 }],
];

const errorOf = (run: () => unknown): QuaverError => {
  try {
    run();
  } catch (error) {
    if (error instanceof QuaverError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('operands that do not fit', () => {
  test.each(rejected)('%s: %s(%j) %j', (_, op, operands, attributes) => {
    const error = errorOf(() => infer(op, operands, attributes));
    expect(error.code).toBe('op-type');
    expect(error.where).toEqual({ op });
    expect(error.message).toMatch(new RegExp(`^${op}: .{8}`));
  });

  test('every op rejects something; dynamic_quantize does so through the ops of its body', () => {
    const covered = new Set(['dynamic_quantize', ...rejected.map(([, op]) => op)]);
    expect(
      coreOps
        .list()
        .filter((op) => !covered.has(op.name))
        .map((op) => op.name),
    ).toEqual([]);
    const attributes = { to: 'bf16', block: [1], max: 448, rounding: 'none' };
    expect(errorOf(() => infer('dynamic_quantize', ['f32[3]'], attributes)).code).toBe('op-type');
  });

  test('the message says what was expected and found', () => {
    const error = errorOf(() => infer('quantize', ['f32[B,256]', 'f32[B,1]'], { to: 'f8e4m3fn', block: [1, 128] }));
    expect(error.message).toBe('quantize: scale is f32[B,1], expected shape [B,2]: one scale per block of x');
  });
});

describe('attributes', () => {
  test.each([
    ['unknown', 'softmax', ['f32[3]'], { axis: 0, axes: 1 }, 'attribute-unknown'],
    ['missing', 'softmax', ['f32[3]'], {}, 'attribute-missing'],
    ['kind', 'softmax', ['f32[3]'], { axis: 0.5 }, 'attribute-type'],
    ['not listed', 'compare', ['f32[3]', 'f32[3]'], { direction: 'lt' }, 'attribute-type'],
    ['inherited name', 'softmax', ['f32[3]'], { axis: 0, toString: 1 }, 'attribute-unknown'],
    ['no dtype', 'convert', ['f32[3]'], { to: 'f64' }, 'attribute-type'],
    ['not canonical', 'reshape', ['f32[B,2]'], { shape: ['B*2'] }, 'attribute-type'],
    ['no dimension', 'reshape', ['f32[B,2]'], { shape: ['B+2'] }, 'attribute-type'],
    ['no dimension at all', 'reshape', ['f32[2]'], { shape: [null as unknown as number] }, 'attribute-type'],
  ] as const)('%s', (_, op, operands, attributes, code) => {
    const error = errorOf(() => infer(op, operands, attributes));
    expect(error.code).toBe(code);
    expect(error.where.op).toBe(op);
  });

  test('defaults are filled in', () => {
    expect(infer('dot_general', ['f32[2,3]', 'f32[4,3]'], contract).attributes).toEqual({
      ...contract,
      lhs_batch: [],
      rhs_batch: [],
      promote: 128,
    });
  });
});
