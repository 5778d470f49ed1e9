/** @file Images by hand, and one valid instruction of every op with the exact bytes that it needs. */
import type { Engine } from '../src/engine/engine.ts';

type Pointer = readonly [block: number, offset: number];
/** An instruction over numbered blocks. */
export interface RawCall {
  readonly op: string;
  readonly pointers: readonly (Pointer | undefined)[];
  readonly numbers: readonly number[];
}

export function imageOf(opCode: (name: string) => number, calls: readonly RawCall[]): Float64Array {
  const numbers = calls.flatMap(({ op, pointers, numbers: own }) => [
    opCode(op),
    ...pointers.flatMap((pointer) => pointer ?? [-1, 0]),
    ...own,
  ]);
  return Float64Array.of(calls.length, ...numbers);
}

export interface Sample {
  readonly op: string;
  /** Bytes behind each pointer, not one more; undefined: the pointer is absent. */
  readonly bytes: readonly (number | undefined)[];
  readonly numbers: readonly number[];
}

/** Valid instructions; their memory is zeros, which are good indices, too. */
export function samplesOf(engine: Engine): readonly Sample[] {
  const packed = (n: number, k: number) => engine.packedBytes('f8e4m3fn', n, k);
  const bf16Packed = engine.packedBytes('bf16', 70, 33);
  const staged = engine.stagedBytes('f8e5m2', 'f8e4m3fn', 3, 300);
  const plainStaged = engine.stagedBytes('f32', 'f32', 9, 40);
  const plainPacked = engine.packedBytes('f32', 40, 40);
  /** f32 of 5 rows of 30. */
  const rows = 4 * 5 * 30;
  return [
    { op: 'pack', bytes: [70 * 33 * 2, bf16Packed], numbers: [1, 70, 33, 33, 1] },
    { op: 'pack', bytes: [(2 * 3 + 7 * 10 + 1) * 4, engine.packedBytes('f32', 3, 8)], numbers: [0, 3, 8, 3, 10] },
    { op: 'unpack', bytes: [bf16Packed, 70 * 33 * 2], numbers: [1, 70, 33] },
    { op: 'stage', bytes: [3 * 300, staged], numbers: [3, 3, 300, 300, 1, 2] },
    { op: 'stage', bytes: [4 * (8 * 1 + 39 * 9 + 1), plainStaged], numbers: [0, 9, 40, 1, 9, 0] },
    {
      op: 'gemm',
      bytes: [staged, packed(50, 300), 4 * (2 * 53 + 50), 4 * (2 * 4 + 2 + 1), 4 * (2 * 5 + 2 * 2 + 1)],
      numbers: [0, 3, 2, 3, 50, 300, 53, 4, 1, 5, 2, 24, 128],
    },
    {
      op: 'gemm',
      bytes: [plainStaged, plainPacked, 4 * 9 * 40, undefined, undefined],
      numbers: [0, 0, 0, 9, 40, 40, 40, 0, 0, 0, 0, 1, 40],
    },
    {
      op: 'attention',
      bytes: [2 * 2 * 3 * 4 * 8, 2 * 20 * 2 * 8, 2 * 20 * 2 * 8, 80, 80, 8, 4 * 2 * 3 * 4 * 8, undefined, undefined],
      numbers: [0, 2, 1, 2, 3, 20, 4, 2, 8, 5, 0.25, 0, 0],
    },
    {
      op: 'attention',
      bytes: [4 * 4 * 16, 4 * 33 * 16, 4 * 33 * 16, undefined, undefined, 4, 4 * 4 * 16, 4 * 4, undefined],
      numbers: [0, 0, 0, 1, 4, 33, 1, 1, 16, 0, 1, 0, 0],
    },
    {
      op: 'attention',
      bytes: [
        ...[2 * 2 * 3 * 4 * 8, 7 * 16 * 2 * 8, 7 * 16 * 2 * 8, 7 * 16 * 2, 7 * 16 * 2, 8],
        ...[4 * 2 * 3 * 4 * 8, undefined, 4 * 2 * 3],
      ],
      numbers: [0, 2, 1, 2, 3, 48, 4, 2, 8, 5, 0.25, 7, 16],
    },
    {
      op: 'batch_dot',
      bytes: [4 * (40 + 20 + 2 * 6 + 4 + 1), 4 * (70 + 35 + 5 * 5 + 4 + 1), 4 * 2 * 2 * 3 * 6],
      numbers: [0, 0, 0, 2, 2, 3, 6, 5, 40, 20, 6, 1, 70, 35, 5, 1],
    },
    {
      op: 'attention_grad',
      bytes: [
        ...[4 * 4 * 16, 4 * 33 * 16, 4 * 33 * 16, undefined, undefined, 4],
        ...[4 * 4 * 16, 4 * 4 * 16, 4 * 33 * 16, 4 * 33 * 16, 4 * 4],
      ],
      numbers: [0, 0, 0, 1, 4, 33, 1, 1, 16, 0, 1],
    },
    {
      op: 'attention_grad',
      bytes: [
        ...[2 * 2 * 3 * 4 * 8, 2 * 20 * 2 * 8, 2 * 20 * 2 * 8, 80, 80, 8],
        ...[4 * 2 * 3 * 4 * 8, 4 * 2 * 3 * 4 * 8, 4 * 2 * 20 * 2 * 8, 4 * 2 * 20 * 2 * 8, undefined],
      ],
      numbers: [0, 2, 1, 2, 3, 20, 4, 2, 8, 5, 0.25],
    },
    { op: 'rms_norm_grad', bytes: [rows, 4 * 30, rows, rows, 4 * 30], numbers: [5, 30, 1e-5] },
    { op: 'sum_blocks', bytes: [rows, 4 * 30], numbers: [5, 30] },
    { op: 'swiglu_grad', bytes: [rows, rows, rows, rows, rows], numbers: [5, 30] },
    { op: 'log_softmax_gather_grad', bytes: [rows, 4 * 5, 4 * 5, rows], numbers: [5, 30] },
    { op: 'rms_norm', bytes: [rows, 4 * 30, rows], numbers: [0, 5, 30, 1e-5] },
    { op: 'softmax', bytes: [rows, rows], numbers: [0, 5, 30] },
    { op: 'log_softmax', bytes: [rows, rows], numbers: [0, 5, 30] },
    { op: 'log_softmax_gather', bytes: [rows, 4 * 5, 4 * 5], numbers: [0, 5, 30] },
    { op: 'quantize_rows', bytes: [rows, 5 * 30, 4 * 5 * 4], numbers: [2, 5, 30, 8, 1] },
    { op: 'quantize_rows_e8m0', bytes: [rows, 5 * 30, 5 * 4], numbers: [3, 5, 30, 8] },
    { op: 'quantize_by', bytes: [rows, 4 * (2 * 6 + 4), 5 * 30], numbers: [2, 5, 30, 6, 2, 8, 1] },
    { op: 'dequantize_by', bytes: [5 * 30, 4 * (2 * 6 + 4), rows], numbers: [2, 5, 30, 6, 2, 8] },
    {
      op: 'rope',
      bytes: [4 * 2 * 3 * 5 * 8, 4 * 9 * 3, 4 * 9 * 3, 8, 4 * 2 * 3 * 5 * 8],
      numbers: [2, 3, 5, 8, 6, 9, 0],
    },
    {
      op: 'rope',
      bytes: [4 * 2 * 3 * 5 * 8, 4 * 9 * 3, 4 * 9 * 3, 4 * 6, 4 * 2 * 3 * 5 * 8],
      numbers: [2, 3, 5, 8, 6, 9, 1],
    },
    { op: 'amax_by', bytes: [rows, 4 * 3 * 4], numbers: [5, 30, 2, 8] },
    { op: 'compute_scale', bytes: [4 * 77, 77], numbers: [77, 448, 2, 1] },
    { op: 'compute_scale', bytes: [4 * 77, 4 * 77], numbers: [77, 448, 0, 0] },
    { op: 'unary', bytes: [rows, rows], numbers: [2, 5, 30] },
    { op: 'binary', bytes: [rows, rows, rows], numbers: [6, 5, 30] },
    { op: 'add_row', bytes: [rows, 4 * 30, rows], numbers: [5, 30] },
    { op: 'encode', bytes: [rows, 5 * 30 * 2], numbers: [1, 5, 30, 1] },
    { op: 'encode', bytes: [rows, 5 * 30], numbers: [3, 5, 30, 0] },
    { op: 'decode', bytes: [5 * 30 * 2, rows], numbers: [1, 5, 30] },
    { op: 'decode', bytes: [5 * 30, rows], numbers: [2, 5, 30] },
    { op: 'decode_e8m0', bytes: [77, 4 * 77], numbers: [77] },
    { op: 'copy', bytes: [7 * 11, 7 * 11], numbers: [7, 11] },
    { op: 'fill', bytes: [2 * 9 * 11], numbers: [9, 11, 2, 0xabcd] },
    { op: 'gather', bytes: [2 * 6 * 10, 4 * 2 * 3, 2 * 3 * 10], numbers: [2, 3, 6, 10] },
    { op: 'gather_packed', bytes: [bf16Packed, 4 * 4, 4 * 33 * 2], numbers: [1, 4, 70, 33, 1] },
    { op: 'update_slice', bytes: [2 * 6 * 5, 2 * 3 * 5, 4 * 2, 2 * 6 * 5], numbers: [2, 6, 3, 5] },
    { op: 'update_pages', bytes: [7 * 4 * 5, 2 * 3 * 5, 4 * 2 * 2, 4 * 2, 7 * 4 * 5], numbers: [7, 4, 2, 3, 2, 5] },
    { op: 'scatter_add', bytes: [4 * 6 * 70, 4 * 4, 4 * 4 * 70, 4 * 6 * 70], numbers: [6, 4, 70] },
    { op: 'reduce', bytes: [4 * 3 * 20 * 300, 4 * 3 * 300], numbers: [0, 3, 20, 300] },
    { op: 'select', bytes: [5 * 30, 2 * 5 * 30, 2 * 5 * 30, 2 * 5 * 30], numbers: [2, 5, 30] },
    { op: 'compare', bytes: [rows, rows, 5 * 30], numbers: [2, 0, 5, 30] },
    { op: 'integer', bytes: [rows, rows, rows], numbers: [3, 5, 30] },
    { op: 'logical', bytes: [150, 150, 150], numbers: [1, 5, 30] },
    { op: 'iota', bytes: [4 * 3 * 7 * 5], numbers: [1, 3, 7, 5] },
    {
      op: 'adamw',
      bytes: [rows, rows, rows, rows, 4, 4, 4, rows, rows, rows],
      numbers: [5, 30, 0.9, 0.1, 0.999, 0.001, 1e-8, 0.01],
    },
    {
      op: 'strided_copy',
      bytes: [2 * (1 + 9 + 2 * 3 + 4 + 5), 2 * (1 + 40 + 2 * 12 + 4 * 2 + 1)],
      numbers: [2, ...[2, 3, 5, 1, 1, 1], ...[9, 3, 1, 7, 0, 0], ...[40, 12, 2, 9, 0, 0], 5, 1],
    },
  ];
}
