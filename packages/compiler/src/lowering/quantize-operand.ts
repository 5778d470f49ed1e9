import type { Attributes, FunctionRewriter, NodeOrigin, StateVariable, Value } from '@quaver/ir';
import { floatFormats } from '@quaver/numerics';
import type { AmaxHistory, Granularity, Quantization } from '../recipe/recipe.ts';

/** FP8 codes with their scales, and the shape of the blocks that share one. */
export interface QuantizedOperand {
  readonly codes: Value;
  readonly scale: Value;
  readonly block: readonly number[];
}

/**
 * The block of a granularity on an operand: 0 is a whole axis. `rows` apply to the axis before the contracted one (after
 * it when that is the first), further axes are cut into single elements, except that 0 rows are all of them.
 */
export function blockOf(granularity: Granularity, rank: number, contract: number): number[] {
  if (granularity === 'tensor' || granularity === 'delayed') return new Array<number>(rank).fill(0);
  const [rows, k] = granularity === 'row' ? [1, 0] : granularity.block;
  const rowAxis = contract > 0 ? contract - 1 : 1;
  return Array.from({ length: rank }, (_, axis) => {
    if (axis === contract) return k;
    return axis === rowAxis || rows === 0 ? rows : 1;
  });
}

/** Casts x / scale to FP8; attributes are those that `quantize` has. */
export type Cast = (x: Value, scale: Value, attributes: Attributes, origin: NodeOrigin) => Value;

export function nearest(rewriter: FunctionRewriter): Cast {
  return (x, scale, attributes, origin) => rewriter.op('quantize', [x, scale], attributes, origin);
}

/** amax → compute_scale → quantize with the current amax. */
export function quantizeCurrent(
  rewriter: FunctionRewriter,
  x: Value,
  block: readonly number[],
  { format, scale }: Pick<Quantization, 'format' | 'scale'>,
  { location }: NodeOrigin,
  cast: Cast = nearest(rewriter),
): QuantizedOperand {
  const { maxFinite: max } = floatFormats[format];
  const amax = rewriter.op('amax', [x], { block }, { location });
  const scales = rewriter.op('compute_scale', [amax], { max, rounding: scale.rounding, to: scale.dtype }, { location });
  const codes = cast(x, scales, { to: format, block }, { location });
  return { codes, scale: scales, block };
}

/** The state that holds the amax values of earlier steps, the latest last. */
export function amaxHistoryState(location: string, role: string, { length }: AmaxHistory): StateVariable {
  return { name: `${location}.${role}_amax_history`, type: { dtype: 'f32', shape: [length] } };
}

/**
 * Quantizes with a scale from the amax history alone. The history is read here and written at the end of a training step
 * (shift-amax-histories.ts), so the scale is fixed before the step and no row depends on its neighbours. An empty history
 * (zeros) gives the scale 1.
 */
export function quantizeDelayed(
  rewriter: FunctionRewriter,
  x: Value,
  spec: Quantization & { readonly history: AmaxHistory },
  state: StateVariable,
  { location }: NodeOrigin,
  cast: Cast = nearest(rewriter),
): QuantizedOperand {
  const { length, algorithm, margin } = spec.history;
  const rank = x.type.shape.length;
  const history = rewriter.state(state);
  const amax =
    algorithm === 'max'
      ? rewriter.op('reduce', [history], { kind: 'max', axes: [0], keep: true }, { location })
      : rewriter.op('slice', [history], { start: [length - 1], limit: [length], stride: [1] }, { location });
  const shaped = rewriter.op('reshape', [amax], { shape: new Array<number>(rank).fill(1) }, { location });
  const max = floatFormats[spec.format].maxFinite / 2 ** margin;
  const attributes = { max, rounding: spec.scale.rounding, to: spec.scale.dtype };
  const scale = rewriter.op('compute_scale', [shaped], attributes, { location });
  const block = blockOf('delayed', rank, rank - 1);
  const codes = cast(x, scale, { to: spec.format, block }, { location });
  return { codes, scale, block };
}
