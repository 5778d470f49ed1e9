export { type Comparison, compareTensors } from './compare.ts';
export type { Via } from './runner/case.ts';
export {
  type CaseReport,
  type ConformanceOptions,
  type ConformanceProgress,
  type ConformanceReport,
  runConformance,
} from './runner/run-conformance.ts';
export { parseSkipList, type SkipList } from './runner/skip-list.ts';
export {
  type Manifest,
  type ReadVectorFile,
  readIndex,
  readManifest,
  type TensorReference,
  type Tolerance,
  type VectorCase,
} from './vectors/manifest.ts';
export { type LoadTensor, openTensors } from './vectors/tensors.ts';
