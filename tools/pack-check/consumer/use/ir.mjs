import { interpretFunction, parseModule, printModule } from '@quaver/ir';

/** Quantizes rows of x, one power-of-two scale for 128 values. */
export const text = `quaver 1 opset core@1
module "rows"
symbol B 1..8

func @main(%x: bf16[B,128]) -> (q: f8e4m3fn[B,128], scale: f32[B,1]) {
  %q, %scale = dynamic_quantize(%x) {to=f8e4m3fn, block=[1, 128], max=448, rounding=pow2_up, scale_dtype=f32} : f8e4m3fn[B,128], f32[B,1]
  return %q, %scale
}
`;

/** Two rows, of 1.5 and of -448 throughout, as bf16 bits. */
export const inputs = () => {
  const data = new Uint16Array(256).fill(0x3fc0, 0, 128).fill(0xc3e0, 128);
  return { x: { type: { dtype: 'bf16', shape: [2, 128] }, data } };
};

/** 1.5 = 384 · 2^-8 and 384 is the code 0x7c; -448 needs no scale and is 0xfe. */
export const expected = { q: [0x7c, 0xfe], scale: [2 ** -8, 1] };

export const firstOfRows = ({ q, scale }) => ({ q: [q.data[0], q.data[255]], scale: [...scale.data] });

export default () => {
  const module = parseModule(text);
  if (printModule(module) !== text) throw new Error(`the text form does not round-trip:\n${printModule(module)}`);
  return firstOfRows(interpretFunction(module.functions[0], { inputs: inputs() }).outputs);
};
