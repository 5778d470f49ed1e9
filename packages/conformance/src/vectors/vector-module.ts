import {
  type Attributes,
  coreOps,
  GraphBuilder,
  type GraphFunction,
  type HostTensor,
  legalizeFunction,
  type Module,
  memoryData,
  type Node,
  type Parameter,
  verifyModule,
} from '@quaver/ir';

/** One node as a module, and what it is called with. */
export interface VectorModule {
  readonly module: Module;
  readonly node: Node;
  readonly inputs: Readonly<Record<string, HostTensor>>;
}

export interface NodeToRun {
  readonly domain: string;
  readonly op: string;
  readonly version: number;
  readonly operands: readonly (HostTensor | undefined)[];
  readonly attributes: Attributes;
}

/** @param asParameters which operands are parameters of the module; the others are inputs */
export function vectorModule(toRun: NodeToRun, asParameters: readonly number[]): VectorModule {
  const { domain, op: name, version, operands, attributes } = toRun;
  const op = coreOps.get(domain, name, version);
  const names = Object.keys(op.operands);
  const g = new GraphBuilder('main');
  const parameters: Parameter[] = [];
  const inputs: Record<string, HostTensor> = {};
  const values = operands.map((tensor, i) => {
    if (!tensor) return undefined;
    const { type, data } = tensor;
    if (!asParameters.includes(i)) {
      inputs[names[i]!] = tensor;
      return g.input(names[i]!, type.dtype, type.shape);
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const parameter = { name: names[i]!, type, data: memoryData(bytes), trainable: true };
    parameters.push(parameter);
    return g.parameter(parameter);
  });
  const results = g.apply(op, values, attributes);
  for (const [i, value] of results.entries()) g.output(op.results[i]!, value);
  const module = moduleOf(g.finish(), parameters);
  verifyModule(module);
  return { module, node: g.nodes[0]!, inputs };
}

function moduleOf(fn: GraphFunction, parameters: readonly Parameter[]): Module {
  return {
    name: 'conformance',
    symbols: [],
    parameters,
    states: [],
    functions: [fn],
    metadata: {},
    attachments: new Map(),
  };
}

/** The same module with every composite replaced by its body, down to primitives. */
export function expanded(module: Module): Module {
  const composite = { ok: false, code: 'composite', reason: 'its body is run' } as const;
  const functions = module.functions.map((fn) =>
    legalizeFunction(
      fn,
      ({ domain, op, version }) =>
        coreOps.get(domain, op, version).isComposite ? composite : { ok: true, native: false },
      coreOps,
    ),
  );
  return { ...module, functions };
}
