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
  type StateUpdate,
  type StateVariable,
  type SymbolicDim,
  type TensorData,
  type Value,
  type ValueKind,
} from './module.ts';
export {
  type Cost,
  defineOp,
  type OpDefinition,
  type OperandRecord,
  type OperandSpec,
  type OpInference,
  type OpSource,
  type OpTrait,
  typeError,
} from './op.ts';
export { coreOps } from './ops/index.ts';
export { OpRegistry } from './registry.ts';
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
