import type { NodeView } from '@quaver/executor';
import type { CpuKernel } from './kernel.ts';
import { adamwStepKernel } from './ops/adamw-step.ts';
import { attentionGradKernel, attentionKernel } from './ops/attention.ts';
import { convertKernel } from './ops/convert.ts';
import { dotGeneralKernel } from './ops/dot-general.ts';
import { dynamicQuantizeKernel } from './ops/dynamic-quantize.ts';
import { dynamicUpdateSliceKernel } from './ops/dynamic-update-slice.ts';
import { biasAddKernel, elementwiseKernels } from './ops/elementwise.ts';
import { gatherKernel } from './ops/gather.ts';
import { logSoftmaxGatherGradKernel, rmsNormGradKernel, swigluGradKernel } from './ops/gradients.ts';
import { compareKernel, constantKernel, iotaKernel, logicalKernels, selectKernel } from './ops/masks.ts';
import { broadcastInDimKernel, concatenateKernel, sliceKernel, transposeKernel } from './ops/movement.ts';
import { pagedUpdateKernel } from './ops/paged-update.ts';
import { amaxKernel, computeScaleKernel, dequantizeKernel, quantizeKernel } from './ops/quantize.ts';
import { reduceKernel } from './ops/reduce.ts';
import { reshapeKernel } from './ops/reshape.ts';
import { rmsNormKernel } from './ops/rms-norm.ts';
import { ropeKernel } from './ops/rope.ts';
import { scaledDotKernel } from './ops/scaled-dot.ts';
import { scatterAddKernel } from './ops/scatter-add.ts';
import { logSoftmaxGatherKernel, logSoftmaxKernel, softmaxKernel } from './ops/softmax.ts';

const kernels: readonly CpuKernel[] = [
  ...elementwiseKernels,
  ...logicalKernels,
  adamwStepKernel,
  amaxKernel,
  attentionGradKernel,
  attentionKernel,
  biasAddKernel,
  broadcastInDimKernel,
  compareKernel,
  computeScaleKernel,
  concatenateKernel,
  constantKernel,
  convertKernel,
  dequantizeKernel,
  dotGeneralKernel,
  dynamicQuantizeKernel,
  dynamicUpdateSliceKernel,
  gatherKernel,
  iotaKernel,
  logSoftmaxGatherGradKernel,
  logSoftmaxGatherKernel,
  logSoftmaxKernel,
  pagedUpdateKernel,
  quantizeKernel,
  reduceKernel,
  reshapeKernel,
  rmsNormGradKernel,
  rmsNormKernel,
  ropeKernel,
  scaledDotKernel,
  scatterAddKernel,
  selectKernel,
  sliceKernel,
  softmaxKernel,
  swigluGradKernel,
  transposeKernel,
];

const byName = new Map(kernels.map((kernel) => [`${kernel.op}@${kernel.version}`, kernel]));

/** The kernel of an op, if it has one; ask it whether it takes the node's types. */
export function findKernel(node: NodeView): CpuKernel | undefined {
  return node.domain === 'core' ? byName.get(`${node.op}@${node.version}`) : undefined;
}
