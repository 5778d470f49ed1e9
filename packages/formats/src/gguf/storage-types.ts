import type { TensorDType } from '../tensor-dtype.ts';
import { dequantizeQ2_K, dequantizeQ3_K, dequantizeQ4_K, dequantizeQ5_K, dequantizeQ6_K } from './dequantize-k.ts';
import {
  type Dequantizer,
  dequantizeQ4_0,
  dequantizeQ4_1,
  dequantizeQ5_0,
  dequantizeQ5_1,
  dequantizeQ8_0,
} from './dequantize-legacy.ts';

/** How GGUF stores a tensor: `blockElements` neighbours of a row in `blockBytes` bytes. */
export interface GgufStorage {
  readonly name: string;
  readonly blockElements: number;
  readonly blockBytes: number;
  /** What the tensor is read as. */
  readonly dtype: TensorDType;
  /** Absent for plain types, whose bytes are handed out as they are. */
  readonly dequantize?: Dequantizer;
}

const plain = (name: string, dtype: TensorDType, bytes: number): GgufStorage => ({
  name,
  blockElements: 1,
  blockBytes: bytes,
  dtype,
});

const quantized = (name: string, blockElements: number, blockBytes: number, dequantize: Dequantizer): GgufStorage => ({
  name,
  blockElements,
  blockBytes,
  dtype: 'f32',
  dequantize,
});

const storageById: ReadonlyMap<number, GgufStorage> = new Map([
  [0, plain('F32', 'f32', 4)],
  [1, plain('F16', 'f16', 2)],
  [2, quantized('Q4_0', 32, 18, dequantizeQ4_0)],
  [3, quantized('Q4_1', 32, 20, dequantizeQ4_1)],
  [6, quantized('Q5_0', 32, 22, dequantizeQ5_0)],
  [7, quantized('Q5_1', 32, 24, dequantizeQ5_1)],
  [8, quantized('Q8_0', 32, 34, dequantizeQ8_0)],
  [10, quantized('Q2_K', 256, 84, dequantizeQ2_K)],
  [11, quantized('Q3_K', 256, 110, dequantizeQ3_K)],
  [12, quantized('Q4_K', 256, 144, dequantizeQ4_K)],
  [13, quantized('Q5_K', 256, 176, dequantizeQ5_K)],
  [14, quantized('Q6_K', 256, 210, dequantizeQ6_K)],
  [24, plain('I8', 'i8', 1)],
  [25, plain('I16', 'i16', 2)],
  [26, plain('I32', 'i32', 4)],
  [27, plain('I64', 'i64', 8)],
  [28, plain('F64', 'f64', 8)],
  [30, plain('BF16', 'bf16', 2)],
]);

/** Names of types that GGUF defines and this reader cannot dequantize, so that an error can say which one it met. */
const unsupportedNames: ReadonlyMap<number, string> = new Map([
  [9, 'Q8_1'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [29, 'IQ1_M'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
  [40, 'NVFP4'],
  [41, 'Q1_0'],
]);

/** The storage of a GGUF type number, or the name of one that is not supported. */
export function ggufStorage(type: number): GgufStorage | string {
  return storageById.get(type) ?? unsupportedNames.get(type) ?? `number ${type}`;
}

export const supportedStorageNames: readonly string[] = [...storageById.values()].map(({ name }) => name);
