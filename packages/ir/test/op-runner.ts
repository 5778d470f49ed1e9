import {
  type Attributes,
  allocateHostArray,
  coreOps,
  type DType,
  GraphBuilder,
  type HostTensor,
  interpretFunction,
  type OpRegistry,
  type Value,
  viewHostArray,
} from '@quaver/ir';
import { type FloatFormatName, floatFormats } from '@quaver/numerics';

/** A tensor of codes or numbers as they are stored. */
export function stored(dtype: DType, shape: readonly number[], values: ArrayLike<number>): HostTensor {
  const data = allocateHostArray(dtype, values.length);
  data.set(values);
  return { type: { dtype, shape }, data };
}

/** A float tensor from numbers, cast to its dtype. */
export function floats(dtype: DType, shape: readonly number[], values: ArrayLike<number>): HostTensor {
  if (dtype === 'f32') return stored(dtype, shape, values);
  const format = floatFormats[dtype as FloatFormatName];
  return stored(
    dtype,
    shape,
    Array.from(values, (value) => format.encode(value)),
  );
}

/** The numbers that a float tensor holds. */
export function numbersOf({ type, data }: HostTensor): number[] {
  if (type.dtype === 'f32' || type.dtype === 'i32' || type.dtype === 'bool') return Array.from(data);
  const format = floatFormats[type.dtype as FloatFormatName];
  return Array.from(data, (code) => format.decode(code));
}

/** The stored bits, as unsigned bytes in hexadecimal: what bit-exact comparisons compare. NaNs of f32 are made one. */
export function bitsOf({ type, data }: HostTensor): string {
  let array = data;
  if (type.dtype === 'f32') {
    array = data.slice();
    for (let i = 0; i < array.length; i++) if (Number.isNaN(array[i])) array[i] = Number.NaN;
  }
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('hex');
}

/** Runs one node, primitive or composite, on its operands; undefined operands are absent. */
export function runOp(
  name: string,
  operands: readonly (HostTensor | undefined)[],
  attributes: Attributes = {},
  registry: OpRegistry = coreOps,
): HostTensor[] {
  const g = new GraphBuilder('one_op');
  const values = operands.map((tensor, i): Value | undefined =>
    tensor ? g.input(`x${i}`, tensor.type.dtype, tensor.type.shape) : undefined,
  );
  const op = registry.latest('core', name);
  g.apply(op, values, attributes).forEach((value, i) => {
    g.output(op.results[i]!, value);
  });
  const inputs = Object.fromEntries(operands.flatMap((tensor, i) => (tensor ? [[`x${i}`, tensor]] : [])));
  const { outputs } = interpretFunction(g.finish(), { inputs }, { registry });
  return op.results.map((result) => outputs[result]!);
}

/** Runs one node with a single result. */
export function runOne(
  name: string,
  operands: readonly (HostTensor | undefined)[],
  attributes: Attributes = {},
): HostTensor {
  return runOp(name, operands, attributes)[0]!;
}

/** Rows `from` to `to` of axis 0. */
export function rows({ type, data }: HostTensor, from: number, to: number): HostTensor {
  const width = type.shape.slice(1).reduce((product, dim) => product * dim, 1);
  return { type: { ...type, shape: [to - from, ...type.shape.slice(1)] }, data: data.slice(from * width, to * width) };
}

/** Indices `from` to `to` of any axis. */
export function along(tensor: HostTensor, axis: number, from: number, to: number): HostTensor {
  const { shape } = tensor.type;
  return runOne('slice', [tensor], {
    start: shape.map((_, i) => (i === axis ? from : 0)),
    limit: shape.map((dim, i) => (i === axis ? to : dim)),
    stride: shape.map(() => 1),
  });
}

/** A tensor stored as base64 of its little-endian bytes. */
export interface StoredTensor {
  readonly dtype: DType | 'f64';
  readonly shape: readonly number[];
  readonly base64: string;
}

export function loadTensor(source: StoredTensor): HostTensor {
  const dtype = source.dtype as DType;
  return {
    type: { dtype, shape: source.shape },
    data: viewHostArray(dtype, new Uint8Array(Buffer.from(source.base64, 'base64'))),
  };
}

export function loadFloat64(source: StoredTensor): Float64Array {
  return new Float64Array(new Uint8Array(Buffer.from(source.base64, 'base64')).buffer);
}

/** A small generator of pseudo-random numbers in [-1, 1), the same on every run. */
export function randomNumbers(count: number, seed: number): number[] {
  let state = seed >>> 0 || 1;
  return Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  });
}
