export {
  type AttributeKind,
  type AttributeSpec,
  type AttributeValues,
  attribute,
  resolveAttributes,
} from './attribute.ts';
export { bindSymbols } from './bind.ts';
export { GraphBuilder } from './builder.ts';
export {
  ceilDivDim,
  type Dim,
  type DimBindings,
  dimSymbols,
  evaluateDim,
  multiplyDims,
  parseDim,
} from './dim.ts';
export {
  allocateHostArray,
  type DType,
  dtypeBytes,
  dtypes,
  floatDTypes,
  fp8DTypes,
  type HostArray,
  isDType,
  viewHostArray,
} from './dtype.ts';
export { expandComposite } from './expand.ts';
export { type ByteSource, memorySource, type RangedTensorData } from './file/byte-source.ts';
export {
  type DecodedModule,
  type DecodeOptions,
  decodeModule,
  type ExternalResolver,
  type HeaderInfo,
} from './file/decode.ts';
export { type EncodedModule, type EncodedSegment, type EncodeOptions, encodeModule } from './file/encode.ts';
export { FORMAT_VERSION, moduleOpsets, type Opset } from './file/layout.ts';
export { openModule, readModuleBytes, writeModuleBytes } from './file/open-module.ts';
export type { StoredSegment } from './file/segments.ts';
export { coreUpgraders, type Upgrader, type Upgraders, upgraderKey } from './file/upgrade.ts';
export { functionFlops } from './function-flops.ts';
export {
  type InterpretBindings,
  type InterpretOptions,
  type InterpretResults,
  interpretFunction,
} from './interpret.ts';
export {
  type Attributes,
  type AttributeValue,
  type ExternalData,
  type FunctionOutput,
  findFunction,
  type GraphFunction,
  type MemoryPlan,
  type Module,
  memoryData,
  type Node,
  type Parameter,
  type StateVariable,
  type SymbolicDim,
  type TensorData,
  type Update,
  updatedNames,
  type Value,
  type ValueKind,
} from './module.ts';
export {
  defineOp,
  type GradientContext,
  type OpDefinition,
  type OperandGradients,
  type OperandRecord,
  type OperandSpec,
  type OpInference,
  type OpSource,
  type OpTrait,
  stopped,
  typeError,
} from './op.ts';
export { coreOps } from './ops/index.ts';
export { OpRegistry } from './registry.ts';
export { type ParseOptions, parseModule } from './text/parse.ts';
export { printFunction, printModule } from './text/print.ts';
export { legalizeFunction } from './transform/legalize.ts';
export { planMemory, writesInPlace } from './transform/plan-memory.ts';
export { FunctionRewriter, type NodeOrigin } from './transform/rewrite.ts';
export type { Support, Supports } from './transform/support.ts';
export {
  bindType,
  byteCount,
  type ConcreteType,
  concreteElementCount,
  elementCount,
  formatType,
  type HostTensor,
  sameType,
  type TensorType,
  tensorType,
} from './type.ts';
export { type VerifyOptions, verifyModule } from './verify.ts';
