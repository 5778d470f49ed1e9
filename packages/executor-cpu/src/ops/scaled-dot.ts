import type { NodeView, Support } from '@quaver/executor';
import type { TensorType } from '@quaver/ir';
import { type CpuKernel, type KernelCall, native, type Place, refuse } from '../kernel.ts';
import { emitProduct, type SideScales } from './emit-product.ts';
import { blocksOf, isMatrix, matrixView, scaleView, sharesScales } from './matrix-view.ts';

const dtypes = ['bf16', 'f8e4m3fn', 'f8e5m2'];

/** FP8 or BF16 activations times FP8 or BF16 weights with scales, contracted over the first or last axis of each. */
export const scaledDotKernel: CpuKernel = {
  op: 'scaled_dot',
  version: 1,
  supports,
  emit,
};

interface Side {
  readonly operand: TensorType;
  readonly scale: TensorType | undefined;
  readonly contract: readonly number[];
  readonly block: readonly number[];
}

function sidesOf({ operands, attributes }: NodeView): readonly [Side, Side] {
  const [lhs, rhs, lhsScale, rhsScale] = operands as readonly [TensorType, TensorType, TensorType?, TensorType?];
  const { lhs_contract, rhs_contract, lhs_block, rhs_block } = attributes as Readonly<
    Record<string, readonly number[]>
  >;
  return [
    { operand: lhs, scale: lhsScale, contract: lhs_contract!, block: lhs_block! },
    { operand: rhs, scale: rhsScale, contract: rhs_contract!, block: rhs_block! },
  ];
}

function supports(node: NodeView): Support {
  if (!node.operands[0] || !node.operands[1]) return refuse('operand-missing', 'an operand is missing');
  const sides = sidesOf(node);
  for (const { operand, contract, scale, block } of sides) {
    if (!dtypes.includes(operand.dtype)) return refuse('dtype', `an operand of ${operand.dtype}`);
    if (!isMatrix(operand.shape.length, contract)) {
      return refuse('layout', 'the contracted axis must be the first or the last one');
    }
    if (scale && !sharesScales(blocksOf(block, contract).free)) {
      return refuse('granularity', 'scales must be per row, per tensor, or per block of one axis');
    }
  }
  const [lhs] = sides;
  if (lhs.scale && blocksOf(lhs.block, lhs.contract).free.some((size) => size > 1)) {
    return refuse('granularity', 'activations that share scales in blocks of rows');
  }
  const sizes = sides.flatMap(({ scale, block, contract }) => (scale ? [blocksOf(block, contract).k] : []));
  const blocks = new Set(sizes.filter((size) => size > 0));
  if (blocks.size > 1) return refuse('granularity', 'both operands need the same block along K');
  for (const size of blocks) {
    if (size % 128 !== 0 && (128 % size !== 0 || size % 4 !== 0))
      return refuse('granularity', `a block of ${size} along K`);
  }
  return node.attributes.promote === 128 ? native : refuse('promote', 'promote must be 128');
}

function emit(call: KernelCall): void {
  const { lhs_contract, rhs_contract, lhs_block, rhs_block } = call.attributes as Readonly<
    Record<string, readonly number[]>
  >;
  const [lhs, rhs, lhsScale, rhsScale] = call.operands as readonly [Place, Place, Place?, Place?];
  const sizes = [lhsScale && blocksOf(lhs_block!, lhs_contract!).k, rhsScale && blocksOf(rhs_block!, rhs_contract!).k];
  const blockK = sizes.find((size) => size !== undefined && size > 0);
  emitProduct(call, {
    lhsContract: lhs_contract!,
    rhsContract: rhs_contract!,
    lhsScales: lhsScale && sideScales(call, lhs, lhsScale, lhs_block!, lhs_contract!),
    rhsScales: rhsScale && sideScales(call, rhs, rhsScale, rhs_block!, rhs_contract!),
    ...(blockK === undefined ? {} : { blockK }),
  });
}

function sideScales(
  { code }: KernelCall,
  operand: Place,
  scale: Place,
  block: readonly number[],
  contract: readonly number[],
): SideScales {
  const view = scaleView(matrixView(operand, contract), block, contract);
  if (scale.type.dtype === 'f32') return { ...view, ref: scale.ref() };
  // E8M0 scales are decoded once for a parameter, at every run for a computed value.
  const count = scale.type.shape.reduce((product, dim) => product * dim, 1);
  if (scale.buffer?.isParameter) return { ...view, ref: code.require(scale.buffer.decodedScales(count)) };
  const ref = code.scratch(4 * count);
  if (count > 0) code.emit('decode_e8m0', [scale.ref(), ref], [count]);
  return { ...view, ref };
}
