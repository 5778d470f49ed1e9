import {
  type ConcreteType,
  FunctionRewriter,
  type GraphFunction,
  type HostTensor,
  type Node,
  type OpRegistry,
  type Value,
} from '@quaver/ir';

/** Ops that move elements without changing them: of a splat they make a splat. */
const movements: ReadonlySet<string> = new Set(['broadcast_in_dim', 'reshape', 'transpose', 'slice']);

/** Computes nodes whose operands are all `constant`: elementwise ops once for all elements, movements not at all. */
export function foldSplats(fn: GraphFunction, registry: OpRegistry): GraphFunction {
  const rewriter = new FunctionRewriter(fn, registry);
  for (const node of fn.nodes) {
    const value = splatOf(node, rewriter, registry);
    if (value === undefined) rewriter.keep(node);
    else {
      const { dtype, shape } = node.results[0]!.type;
      rewriter.drop(node);
      rewriter.replace(node.results[0]!, rewriter.op('constant', [], { value, dtype, shape }, node));
    }
  }
  return rewriter.finish();
}

function splatOf(node: Node, rewriter: FunctionRewriter, registry: OpRegistry): number | undefined {
  const constants = node.operands.map((value) => value && constantOf(value, rewriter));
  if (constants.length === 0 || constants.some((constant) => constant === undefined)) return undefined;
  if (movements.has(node.op)) return constants[0]!.attributes.value as number;
  const op = registry.get(node.domain, node.op, node.version);
  if (op.isComposite || !op.traits.includes('elementwise') || op.traits.includes('fold-barrier')) return undefined;
  const result = node.results[0]!.type;
  if (!isPlain(result.dtype)) return undefined;
  const type: ConcreteType = { dtype: result.dtype, shape: [] };
  return op.evaluate(
    constants.map((constant) => scalarOf(constant!)),
    node.attributes,
    [type],
  )[0]!.data[0];
}

/** f32, i32 and bool constants: their elements are numbers, not codes. */
function constantOf(value: Value, rewriter: FunctionRewriter): Node | undefined {
  const node = rewriter.producer(value);
  return node?.op === 'constant' && isPlain(node.results[0]!.type.dtype) ? node : undefined;
}

function isPlain(dtype: string): boolean {
  return dtype === 'f32' || dtype === 'i32' || dtype === 'bool';
}

function scalarOf(constant: Node): HostTensor {
  const { dtype } = constant.results[0]!.type;
  const value = [constant.attributes.value as number];
  const data =
    dtype === 'f32' ? Float32Array.from(value) : dtype === 'i32' ? Int32Array.from(value) : Uint8Array.from(value);
  return { type: { dtype, shape: [] }, data };
}
