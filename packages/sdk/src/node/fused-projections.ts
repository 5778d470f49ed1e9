/**
 * @file Serving engines fuse q, k and v (and gate and up) into one matrix, which needs one precision. A recipe may keep some of
 * them in BF16; in an exported folder those are quantized like their neighbours.
 */
import type { Fp8WeightToWrite } from '@quaver/formats';
import { coreOps, type HostTensor, type Parameter, viewHostArray } from '@quaver/ir';

const fusedGroups = [
  ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
  ['mlp.gate_proj', 'mlp.up_proj'],
] as const;

/** The other weights that a serving engine fuses with this one. */
export function fusedNeighbours(name: string): readonly string[] {
  for (const group of fusedGroups) {
    const own = group.find((part) => name.endsWith(`.${part}.weight`));
    if (!own) continue;
    const prefix = name.slice(0, -`${own}.weight`.length);
    return group.filter((part) => part !== own).map((part) => `${prefix}${part}.weight`);
  }
  return [];
}

/** A weight [N, K] in E4M3 with a power-of-two scale per `block` × `block`, quantized when it is written. */
export function quantizedWeight(
  { name, type }: Parameter,
  block: number,
  read: (signal?: AbortSignal) => Promise<Uint8Array>,
): Fp8WeightToWrite {
  const [rows = 0, columns = 0] = type.shape;
  const run = (op: string, operands: readonly HostTensor[], attributes: Record<string, string | number | number[]>) => {
    const definition = coreOps.latest('core', op);
    const inferred = definition.infer(
      operands.map((operand) => operand.type),
      attributes,
    );
    const results = inferred.results.map((result) => ({ ...result, shape: result.shape.map(Number) }));
    return definition.evaluate(operands, inferred.attributes, results)[0]!;
  };
  const quantize = async (signal?: AbortSignal) => {
    const stored: HostTensor = { type, data: viewHostArray(type.dtype, await read(signal)) };
    const weight = type.dtype === 'f32' ? stored : run('convert', [stored], { to: 'f32' });
    const amax = run('amax', [weight], { block: [block, block] });
    const scale = run('compute_scale', [amax], { max: 448, rounding: 'pow2_up' });
    return { codes: run('quantize', [weight, scale], { to: 'f8e4m3fn', block: [block, block] }), scale };
  };
  return {
    name,
    shape: [rows, columns],
    readCodes: async (signal) => (await quantize(signal)).codes.data as Uint8Array,
    readScale: async (signal) => (await quantize(signal)).scale.data as Float32Array,
  };
}
