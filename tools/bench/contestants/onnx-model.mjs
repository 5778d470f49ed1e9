/** @file Writes the smallest ONNX models: one matrix product with its weights. Protocol buffers by hand, to need no package. */

function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ; ) {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest ? low | 128 : low);
    if (!rest) return Buffer.from(bytes);
  }
}

const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);

function bytes(field, value) {
  const body = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint((field << 3) | 2), varint(body.length), body]);
}

const FLOAT = 1;
const UINT8 = 2;

function valueInfo(name, shape) {
  const dims = Buffer.concat(shape.map((size) => bytes(1, integer(1, size))));
  return Buffer.concat([bytes(1, name), bytes(2, bytes(1, Buffer.concat([integer(1, FLOAT), bytes(2, dims)])))]);
}

const tensor = (name, type, shape, data) =>
  Buffer.concat([...shape.map((size) => integer(1, size)), integer(2, type), bytes(8, name), bytes(9, data)]);

const attribute = (name, value) => Buffer.concat([bytes(1, name), integer(3, value), integer(20, 2)]);

function node(op, inputs, attributes, domain) {
  return Buffer.concat([
    ...inputs.map((name) => bytes(1, name)),
    ...[bytes(2, 'y'), bytes(3, 'product'), bytes(4, op)],
    ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
    ...(domain ? [bytes(7, domain)] : []),
  ]);
}

const opset = (domain, version) => bytes(8, Buffer.concat([bytes(1, domain), integer(2, version)]));

const raw = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

/** `y[m,n] = x[m,k] · w`; `kind` is `f32` (MatMul) or `nbits8` (MatMulNBits, 8-bit weights in blocks of 128). */
export function onnxProduct({ kind, m, n, k }) {
  const blocks = k / 128;
  const parts =
    kind === 'f32'
      ? {
          node: node('MatMul', ['x', 'w'], {}),
          weights: [
            tensor('w', FLOAT, [k, n], raw(Float32Array.from({ length: k * n }, (_, i) => ((i % 17) - 8) / 100))),
          ],
        }
      : {
          // accuracy_level 4: the fastest, activations are quantized to 8 bits too.
          node: node(
            'MatMulNBits',
            ['x', 'w', 's'],
            { K: k, N: n, bits: 8, block_size: 128, accuracy_level: 4 },
            'com.microsoft',
          ),
          weights: [
            tensor('w', UINT8, [n, blocks, 128], raw(Uint8Array.from({ length: n * k }, (_, i) => i * 37))),
            tensor('s', FLOAT, [n * blocks], raw(new Float32Array(n * blocks).fill(0.01))),
          ],
        };
  const graph = Buffer.concat([
    ...[bytes(1, parts.node), bytes(2, 'g')],
    ...parts.weights.map((weight) => bytes(5, weight)),
    ...[bytes(11, valueInfo('x', [m, k])), bytes(12, valueInfo('y', [m, n]))],
  ]);
  return Buffer.concat([integer(1, 8), bytes(7, graph), opset('', 17), opset('com.microsoft', 1)]);
}
