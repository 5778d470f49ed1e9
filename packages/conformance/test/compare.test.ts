import { compareTensors } from '@quaver/conformance';
import type { DType, HostTensor } from '@quaver/ir';
import { expect, test } from 'vitest';

const f32 = (...values: number[]): HostTensor => ({
  type: { dtype: 'f32', shape: [values.length] },
  data: Float32Array.from(values),
});
const codes = (dtype: DType, ...values: number[]): HostTensor => ({
  type: { dtype, shape: [values.length] },
  data: dtype === 'bf16' ? Uint16Array.from(values) : Uint8Array.from(values),
});
const agrees = { problem: undefined };

test('bits: zeros have signs, NaNs of f32 have no payload', () => {
  const payload = f32(0);
  new Uint32Array(payload.data.buffer)[0] = 0xffc0_1234;
  expect(compareTensors(f32(Number.NaN), payload)).toEqual({ ...agrees, ulp: 0 });
  const zeros = compareTensors(f32(1, -0), f32(1, 0));
  expect(zeros).toEqual({
    problem: '1 of 2 elements differ, by 0 ULP at most; element 1 is 0, expected -0',
    ulp: 0,
  });
  expect(compareTensors(f32(Number.NaN), f32(1))).toMatchObject({ ulp: undefined });
  expect(compareTensors(codes('bf16', 0x7fc0), codes('bf16', 0xffc0)).problem).toMatch(/^1 of 1 elements differ/);
  expect(compareTensors(codes('f8e4m3fn', 0x7e), codes('f8e4m3fn', 0x7d)).problem).toContain('is 416, expected 448');
});

test('another dtype or shape never agrees', () => {
  expect(compareTensors(f32(1, 2), f32(1)).problem).toBe('it is f32[1], expected f32[2]');
  expect(compareTensors(f32(1), codes('u8', 1)).problem).toBe('it is u8[1], expected f32[1]');
});

test('bounds hold for what is finite; Inf and NaN must be where they are expected', () => {
  const [one, next] = [f32(1, Number.POSITIVE_INFINITY), f32(1 + 2 ** -23, Number.POSITIVE_INFINITY)];
  expect(compareTensors(one, next, { ulp: 1 })).toEqual({ ...agrees, ulp: 1 });
  expect(compareTensors(one, next, { snr_db: 100 })).toMatchObject(agrees);
  expect(compareTensors(one, next, { snr_db: 150 }).problem).toMatch(/SNR 138\.5 dB, allowed snr_db 150/);
  expect(compareTensors(one, f32(1, 3e38), { snr_db: 0 }).problem).toMatch(/^1 of 2 elements differ/);
  expect(compareTensors(f32(1), f32(Number.NaN), { snr_db: 0 }).problem).toMatch(/^1 of 1 elements differ/);
});

test('an empty tensor agrees with an empty one', () => {
  expect(compareTensors(f32(), f32())).toEqual({ ...agrees, ulp: 0 });
});
