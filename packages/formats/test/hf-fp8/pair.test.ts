import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/byte-source.ts';
import type { TensorToWrite } from '../../src/checkpoint.ts';
import { dequantizeFp8Blocks, pairFp8Blocks } from '../../src/hf-fp8/pair.ts';
import { fp8BlockShape } from '../../src/hf-fp8/quantization-config.ts';
import { encodeSafetensors } from '../../src/safetensors/encode.ts';
import { openSafetensors } from '../../src/safetensors/open.ts';
import { dataSource } from '../data.ts';

const weightName = 'model.layers.0.mlp.up_proj.weight';
const bytesOf = (array: Float32Array | Uint8Array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

async function memory(tensors: readonly Omit<TensorToWrite, 'read'>[]) {
  const exact = tensors.map((tensor) => {
    const bytes = tensor.shape.reduce((a, b) => a * b, 1) * (tensor.dtype === 'f32' || tensor.dtype === 'i32' ? 4 : 1);
    return { ...tensor, read: () => new Uint8Array(bytes) };
  });
  return openSafetensors(bytesSource('model.safetensors', await encodeSafetensors(exact)));
}

describe('a ragged 130 × 200 weight that ml_dtypes quantized', () => {
  test.each(['f32', 'bf16'] as const)('reads as %s, bit for bit', async (dtype) => {
    const checkpoint = pairFp8Blocks(await openSafetensors(dataSource('fp8/model.safetensors')), [128, 128], dtype);
    const expected = await openSafetensors(dataSource('fp8.expected.safetensors'));
    expect([...checkpoint.tensors.keys()].sort()).toEqual(['model.layers.0.input_layernorm.weight', weightName]);
    const weight = checkpoint.tensors.get(weightName)!;
    expect(weight).toMatchObject({ dtype, shape: [130, 200], storage: 'F8_E4M3' });
    expect(bytesOf(await weight.read()).equals(bytesOf(await expected.tensors.get(dtype)!.read()))).toBe(true);
  });

  test('keeps codes and scales at hand', async () => {
    const raw = await openSafetensors(dataSource('fp8/model.safetensors'));
    const { fp8 } = pairFp8Blocks(raw, [128, 128], 'f32').tensors.get(weightName)!;
    expect(fp8).toMatchObject({ dtype: 'f8e4m3fn', blockShape: [128, 128], scaleShape: [2, 2] });
    expect(bytesOf(await fp8!.readCodes()).equals(bytesOf(await raw.tensors.get(weightName)!.read()))).toBe(true);
    const scale = await raw.tensors.get(`${weightName}_scale_inv`)!.read();
    expect(bytesOf(await fp8!.readScale()).equals(bytesOf(scale))).toBe(true);
  });
});

describe('scales', () => {
  test('each block takes its own: codes of 1.0 read as the scales', () => {
    const one = 0x38; // E4M3 1.0
    const values = dequantizeFp8Blocks(
      new Uint8Array(15).fill(one),
      new Float32Array([1, 2, 3, 4, 5, 6]),
      [3, 5],
      [2, 2],
    );
    expect([...values]).toEqual([1, 1, 2, 2, 3, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6]);
  });

  test('may be E8M0 or BF16', async () => {
    const make = async (dtype: 'f8e8m0fnu' | 'bf16', bytes: number[]) => {
      const file = await encodeSafetensors([
        { name: 'a.weight', dtype: 'f8e4m3fn', shape: [1, 2], read: () => new Uint8Array([0x38, 0xb8]) },
        { name: 'a.weight_scale_inv', dtype, shape: [1, 1], read: () => new Uint8Array(bytes) },
      ]);
      const paired = pairFp8Blocks(await openSafetensors(bytesSource('f', file)), [128, 128], 'f32');
      return [...new Float32Array((await paired.tensors.get('a.weight')!.read()).slice().buffer)];
    };
    expect(await make('f8e8m0fnu', [125])).toEqual([0.25, -0.25]);
    expect(await make('bf16', [0x40, 0x40])).toEqual([3, -3]);
  });
});

describe('what does not fit together', () => {
  const weight = { name: 'a.weight', dtype: 'f8e4m3fn', shape: [130, 4] } as const;
  const scale = { name: 'a.weight_scale_inv', dtype: 'f32', shape: [2, 1] } as const;
  test.each([
    ['a weight without scales', [weight], 'hf-fp8-missing-scale', 'a.weight_scale_inv'],
    ['scales without a weight', [scale], 'hf-fp8-orphan-scale', '"a.weight"'],
    ['scales of another shape', [weight, { ...scale, shape: [1, 2] }], 'hf-fp8-bad-scale', 'expected [2, 1]'],
    ['scales of another rank', [weight, { ...scale, shape: [2] }], 'hf-fp8-bad-scale', '[2]'],
    ['integer scales', [weight, { ...scale, dtype: 'i32' }], 'hf-fp8-bad-scale', 'I32'],
    ['a weight of one dimension', [{ ...weight, shape: [4] }, scale], 'hf-fp8-bad-scale', 'two dimensions'],
  ] as const)('%s', async (_, tensors, code, mention) => {
    const raw = await memory(tensors);
    expect(() => pairFp8Blocks(raw, [128, 128], 'f32')).toThrowError(
      expect.objectContaining({ name: 'QuaverError', code, message: expect.stringContaining(mention) }),
    );
  });
});

describe('quantization_config', () => {
  const fp8 = { quant_method: 'fp8', fmt: 'e4m3', activation_scheme: 'dynamic', weight_block_size: [128, 64] };
  test('names the block shape', () => {
    expect(fp8BlockShape('config.json', { quantization_config: fp8 })).toEqual([128, 64]);
    expect(fp8BlockShape('config.json', {})).toBeUndefined();
    expect(fp8BlockShape('config.json', { quantization_config: null })).toBeUndefined();
  });
  test.each([
    ['quantization-unsupported', { ...fp8, quant_method: 'gptq' }],
    ['quantization-unsupported', { ...fp8, fmt: 'e5m2' }],
    ['quantization-unsupported', { quant_method: 'fp8' }],
    ['hf-fp8-bad-config', { ...fp8, weight_block_size: [128] }],
    ['hf-fp8-bad-config', { ...fp8, weight_block_size: [0, 128] }],
    ['hf-fp8-bad-config', []],
  ])('%s', (code, config) => {
    expect(() => fp8BlockShape('config.json', { quantization_config: config })).toThrowError(
      expect.objectContaining({ code }),
    );
  });
});
