/** @file Master weights: trainable parameters in f32, whatever the checkpoint stores, so that small steps are not rounded away. */
import {
  bindType,
  type ConcreteType,
  concreteElementCount,
  coreOps,
  FunctionRewriter,
  type GraphFunction,
  type HostTensor,
  type Module,
  type Node,
  type Parameter,
  type TensorData,
  viewHostArray,
} from '@quaver/ir';

/** How the f32 numbers of a parameter come out of the module: by a conversion, or out of FP8 codes and their scales. */
interface Widening {
  readonly node: Node;
  readonly operands: readonly Parameter[];
}

/**
 * The module with every trainable parameter in f32. Conversions of 16-bit weights go, FP8 weights with their scales
 * become the numbers that they stand for. Bytes are computed when they are read.
 */
export function withMasters(module: Module): Module {
  const narrow = new Set(module.parameters.filter(isNarrow).map(({ name }) => name));
  if (narrow.size === 0) return module;
  const widenings = findWidenings(module, narrow);
  const masters = new Map([...narrow].map((name) => [name, masterOf(module, name, widenings.get(name))]));
  const functions = module.functions.map((fn) => widenFunction(fn, masters));
  const used = new Set(functions.flatMap((fn) => fn.parameters.map(({ ref }) => ref)));
  const parameters = module.parameters
    .map((parameter) => masters.get(parameter.name) ?? parameter)
    .filter(({ name, trainable }) => trainable || used.has(name));
  return { ...module, parameters, functions };
}

function isNarrow({ trainable, type }: Parameter): boolean {
  return trainable && type.dtype !== 'f32';
}

/** The `dequantize` that restores each FP8 weight. */
function findWidenings(module: Module, narrow: ReadonlySet<string>): Map<string, Widening> {
  const byName = new Map(module.parameters.map((parameter) => [parameter.name, parameter]));
  const found = new Map<string, Widening>();
  for (const node of module.functions.flatMap((fn) => fn.nodes)) {
    const [codes] = node.operands;
    if (node.op !== 'dequantize' || codes?.kind !== 'parameter' || !narrow.has(codes.ref!)) continue;
    const operands = node.operands.map((value) => byName.get(value?.ref ?? ''));
    if (operands.every((parameter) => parameter !== undefined)) found.set(codes.ref!, { node, operands });
  }
  return found;
}

function masterOf(module: Module, name: string, widening: Widening | undefined): Parameter {
  const parameter = module.parameters.find((candidate) => candidate.name === name)!;
  const type: ConcreteType = { dtype: 'f32', shape: parameter.type.shape };
  const operands = widening?.operands ?? [parameter];
  if (!operands.every(({ data }) => data)) return { ...parameter, type, data: undefined };
  const data: TensorData = {
    byteLength: 4 * concreteElementCount(type),
    async read(signal) {
      const tensors: HostTensor[] = [];
      for (const { type: stored, data: bytes } of operands) {
        tensors.push({ type: stored, data: viewHostArray(stored.dtype, await bytes!.read(signal)) });
      }
      const [op, attributes] = widening
        ? [
            coreOps.get(widening.node.domain, widening.node.op, widening.node.version),
            { ...widening.node.attributes, to: 'f32' },
          ]
        : [coreOps.latest('core', 'convert'), { to: 'f32' }];
      const [{ data: floats }] = op.evaluate(tensors, attributes, [bindType(type, {})]) as [HostTensor];
      return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
    },
  };
  return { ...parameter, type, data };
}

function widenFunction(fn: GraphFunction, masters: ReadonlyMap<string, Parameter>): GraphFunction {
  const rewriter = new FunctionRewriter(fn);
  for (const value of fn.parameters) {
    const master = masters.get(value.ref!);
    if (master) rewriter.retype(value, master.type);
  }
  for (const node of fn.nodes) {
    const source = node.operands[0] && rewriter.resolve(node.operands[0]);
    const widens = ['convert', 'dequantize'].includes(node.op) && node.results[0]!.type.dtype === 'f32';
    if (widens && source?.type.dtype === 'f32') {
      rewriter.drop(node);
      rewriter.replace(node.results[0]!, source);
    } else rewriter.keep(node);
  }
  return rewriter.finish();
}
