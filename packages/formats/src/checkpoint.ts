import type { TensorDType } from './tensor-dtype.ts';

/** A tensor in a checkpoint: its description now, its bytes on request. */
export interface CheckpointTensor {
  readonly name: string;
  /** The element type of what `read` gives. */
  readonly dtype: TensorDType;
  /** Row-major, outermost dimension first. */
  readonly shape: readonly number[];
  /** The type in the file: `Q4_1`, `BF16`, `F8_E4M3`, … */
  readonly storage: string;
  /**
   * Little-endian bytes in `dtype`, row-major, aligned for a typed array of it. Block-quantized storage arrives
   * dequantized. May be a view of the source: do not write to it.
   */
  read(signal?: AbortSignal): Promise<Uint8Array>;
  /** Present where the file holds FP8 codes with block scales: the codes themselves, for who keeps them as they are. */
  readonly fp8?: Fp8Storage;
}

/** FP8 codes and the scale of each block: `value ≈ code · scale`. */
export interface Fp8Storage {
  readonly dtype: 'f8e4m3fn';
  /** Rows and columns of one block, usually `[128, 128]`. */
  readonly blockShape: readonly [number, number];
  /** `[ceil(N / blockShape[0]), ceil(K / blockShape[1])]` for a weight `[N, K]`. */
  readonly scaleShape: readonly [number, number];
  /** One byte per element, in the weight's shape. */
  readCodes(signal?: AbortSignal): Promise<Uint8Array>;
  /** The multipliers that restore the values, row-major in `scaleShape`. */
  readScale(signal?: AbortSignal): Promise<Float32Array>;
}

/** A metadata value: safetensors has strings, GGUF all of these. 64-bit integers beyond ±2^53 are bigints. */
export type MetadataValue = string | number | bigint | boolean | MetadataArray;
export type MetadataArray =
  | readonly string[]
  | readonly boolean[]
  | readonly MetadataArray[]
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export interface Checkpoint {
  readonly format: 'safetensors' | 'gguf' | 'hf-fp8';
  /** The file or folder, as errors name it. */
  readonly source: string;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  close(): Promise<void>;
}

/** What a writer takes: any `CheckpointTensor`, or bytes made on the spot. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: TensorDType;
  readonly shape: readonly number[];
  /** Little-endian bytes, row-major; asked for once, when its turn to be written comes. */
  read(signal?: AbortSignal): Promise<Uint8Array> | Uint8Array;
}
