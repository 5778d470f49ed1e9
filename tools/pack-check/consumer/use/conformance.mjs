import { runConformance } from '@quaver/conformance';
import { referencePlugin } from '@quaver/executor';
import { encodeSafetensors } from '@quaver/formats';

const shape = [2];
const tensor = (name, values) => ({
  name,
  dtype: 'f32',
  shape,
  read: () => new Uint8Array(Float32Array.from(values).buffer),
});
const reference = (name) => ({ tensor: name, dtype: 'f32', shape });
const manifest = {
  ...{ format: 1, domain: 'core', op: 'negate', version: 1, tensors: 'negate.safetensors' },
  cases: [
    { name: 'right', operands: [reference('x')], attributes: {}, results: [reference('minus x')], tolerance: 'bits' },
    { name: 'wrong', operands: [reference('x')], attributes: {}, results: [reference('x')], tolerance: 'bits' },
  ],
};
const json = (value) => new TextEncoder().encode(JSON.stringify(value));
const files = {
  'index.json': () => json({ format: 1, manifests: ['negate.json'] }),
  'negate.json': () => json(manifest),
  'negate.safetensors': () => encodeSafetensors([tensor('x', [1, 2]), tensor('minus x', [-1, -2])]),
};

/** Vectors made on the spot: in a browser there are no files. */
export default async () => {
  const vectors = async (name) => files[name]();
  const { passed, failed, cases } = await runConformance(referencePlugin(), { vectors, filter: 'negate/' });
  return { passed, failed, ulp: cases[0].ulp };
};

export const expected = { passed: 1, failed: 1, ulp: 0 };
