/** @file What a compile did: plain data, for people through `formatReport` and for programs as JSON. */
import { type DType, dtypeBytes, type Module, type Node, type Parameter } from '@quaver/ir';
import { type GradientProduct, layerLocation, readGradientProduct } from '../autodiff/gradient-marks.ts';
import type { WeightStatistics } from '../folding/weight-statistics.ts';
import { phaseOf } from '../graph/phase.ts';
import { linearProduct, type Role, readLowered, readRefusal, readRequest } from '../lowering/annotations.ts';
import type { PassContext } from '../pass.ts';
import type { Phase } from '../recipe/recipe.ts';
import { rowInvariance } from '../recipe/row-invariance.ts';
import type { Assignment } from './assignment.ts';

/** One run of one pass. Times are wall-clock milliseconds. */
export interface PassRecord {
  readonly name: string;
  readonly ms: number;
  readonly nodes_before: number;
  readonly nodes_after: number;
  readonly changed: boolean;
}

/** One layer; `functions` are those that hold it in this form. */
interface Placed {
  /** Where it is in the source model: `model.layers.0.mlp.up_proj`. */
  readonly location: string;
  readonly functions: readonly string[];
}

/** A product of a linear layer in the precision that the recipe asks for. */
export interface LinearReport extends Placed {
  readonly product: 'fprop' | GradientProduct;
  /**
   * `bf16`, or what its operands are quantized to, [rows, contracted axis]: input x weight (fprop), grad_output x weight (dgrad),
   * grad_output x input (wgrad). `f8e4m3fn[1,128] x f8e4m3fn[128,128]`.
   */
  readonly precision: string;
  /** Scales of the first operand. `dynamic`: by its own amax; `delayed`: by the amax history; `none`: not quantized. */
  readonly input_scale: 'dynamic' | 'delayed' | 'none';
  /** The parameter with the weight, once weights are folded. */
  readonly weight: string | undefined;
  readonly weight_bytes: number | undefined;
  /** Missing for weights that came quantized, and for those that are not quantized. */
  readonly statistics: WeightStatistics | undefined;
}

export interface AttentionReport extends Placed {
  readonly role: 'attention' | 'attention.gradient';
  readonly precision: string;
}

/** A node that stays in high precision because the recipe says so. */
export interface KeptReport extends Placed {
  readonly role: Role;
  readonly precision: string;
  readonly rule: string;
}

/** A node that the recipe asks more of than could be done. */
export interface NotLoweredReport extends Placed {
  /** `dot_general`; for the gradient products of a layer `dot_general (dgrad)`. */
  readonly op: string;
  readonly code: string;
  readonly reason: string;
  readonly hint: string;
}

export interface ByteReport {
  readonly total: number;
  readonly by_dtype: Readonly<Partial<Record<DType, number>>>;
}

/** Bytes of weights, scales included, against the same weights in BF16. */
export interface WeightBytes {
  readonly count: number;
  readonly bytes: number;
  readonly bf16_bytes: number;
  readonly ratio: number;
}

export interface CompileReport {
  readonly recipe: string;
  readonly rowInvariant: boolean;
  /** Why rows are, or are not, independent of their batch. */
  readonly row_invariance: string;
  readonly ms: number;
  readonly passes: readonly PassRecord[];
  readonly linears: readonly LinearReport[];
  readonly attention: readonly AttentionReport[];
  readonly kept: readonly KeptReport[];
  readonly not_lowered: readonly NotLoweredReport[];
  /** Parameters of the module, before and after. */
  readonly bytes: { readonly before: ByteReport; readonly after: ByteReport };
  /** FP8 weights with their scales against the same weights in BF16; undefined when there are none. */
  readonly fp8_weights: WeightBytes | undefined;
  /** All weights of linear layers but `lm_head`, those kept in high precision included; undefined when there are none. */
  readonly linear_weights: WeightBytes | undefined;
  /** What the target does with each op; empty without a target. */
  readonly assignments: readonly Assignment[];
}

export function buildReport(
  before: Module,
  after: Module,
  passes: readonly PassRecord[],
  context: PassContext,
): CompileReport {
  const { recipe } = context;
  const usedPhases = [...new Set(after.functions.map((fn): Phase => phaseOf(after, fn.name)))];
  const { rowInvariant, why } = rowInvariance(recipe, usedPhases);
  const parameters = new Map(after.parameters.map((parameter) => [parameter.name, parameter]));
  const collect = <T extends Placed>(describe: (node: Node) => Omit<T, 'functions'> | undefined) =>
    collectPlaced<T>(after, describe);
  return {
    recipe: recipe.name,
    rowInvariant,
    row_invariance: why,
    ms: passes.reduce((total, pass) => total + pass.ms, 0),
    passes,
    linears: collect<LinearReport>((node) => describeLinearNode(node, parameters, context.weightStatistics)),
    attention: collect<AttentionReport>(describeAttention),
    kept: collect<KeptReport>(describeKept),
    not_lowered: collect<NotLoweredReport>(describeRefusal),
    bytes: { before: countBytes(before), after: countBytes(after) },
    fp8_weights: compareWeights(after, parameters, (node) => node.op === 'scaled_dot'),
    linear_weights: compareWeights(after, parameters, isLinearLayer),
    assignments: context.assignments,
  };
}

/** Describes nodes, one row per distinct description, with the functions that have it. */
function collectPlaced<T extends Placed>(
  module: Module,
  describe: (node: Node) => Omit<T, 'functions'> | undefined,
): T[] {
  const rows = new Map<string, { row: Omit<T, 'functions'>; functions: Set<string> }>();
  for (const fn of module.functions) {
    for (const node of fn.nodes) {
      const row = describe(node);
      if (!row) continue;
      const key = JSON.stringify(row);
      const known = rows.get(key) ?? { row, functions: new Set<string>() };
      rows.set(key, known);
      known.functions.add(fn.name);
    }
  }
  return [...rows.values()].map(({ row, functions }) => ({ ...row, functions: [...functions] }) as unknown as T);
}

function describeLinearNode(
  node: Node,
  parameters: ReadonlyMap<string, Parameter>,
  statistics: ReadonlyMap<string, WeightStatistics>,
): Omit<LinearReport, 'functions'> | undefined {
  const lowered = readLowered(node);
  const product = lowered && linearProduct(lowered.role);
  if (!product || node.annotations.kept !== undefined) return undefined;
  const weight = node.operands.slice(0, 2).find((value) => value?.kind === 'parameter')?.ref;
  const type = weight === undefined ? undefined : parameters.get(weight)?.type;
  const quantized = lowered.precision.startsWith('f8');
  return {
    location: layerLocation(node),
    product,
    precision: lowered.precision,
    input_scale: !quantized ? 'none' : /^\w+\[delayed\b/.test(lowered.precision) ? 'delayed' : 'dynamic',
    weight,
    weight_bytes: type && bytesOfType(type),
    statistics: weight === undefined ? undefined : statistics.get(weight),
  };
}

function describeAttention(node: Node): Omit<AttentionReport, 'functions'> | undefined {
  const lowered = readLowered(node);
  if (lowered?.role !== 'attention' && lowered?.role !== 'attention.gradient') return undefined;
  return { location: layerLocation(node), role: lowered.role, precision: lowered.precision };
}

function describeKept(node: Node): Omit<KeptReport, 'functions'> | undefined {
  const lowered = readLowered(node);
  if (!lowered) return undefined;
  const { role, precision } = lowered;
  const rule = node.annotations.kept ?? (role === 'embedding' ? 'embedding' : undefined);
  return rule === undefined ? undefined : { location: layerLocation(node), role, precision, rule };
}

function describeRefusal(node: Node): Omit<NotLoweredReport, 'functions'> | undefined {
  const refusal = readRefusal(node) ?? (readRequest(node) && pending);
  const product = readGradientProduct(node);
  const op = product === undefined ? node.op : `${node.op} (${product})`;
  return refusal && { location: layerLocation(node), op, ...refusal };
}

const pending = {
  code: 'not-attempted',
  reason: 'the pass fp8-lower did not run after annotate-precision',
  hint: 'Run all passes, or fp8-lower on the module that this compile gave.',
};

function countBytes(module: Module): ByteReport {
  const byDType: Partial<Record<DType, number>> = {};
  for (const { type } of module.parameters) byDType[type.dtype] = (byDType[type.dtype] ?? 0) + bytesOfType(type);
  return { total: Object.values(byDType).reduce((total, bytes) => total + bytes, 0), by_dtype: byDType };
}

function bytesOfType({ dtype, shape }: Parameter['type']): number {
  return shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
}

function isLinearLayer(node: Node): boolean {
  return (node.op === 'scaled_dot' || node.op === 'dot_general') && layerLocation(node) !== 'lm_head';
}

/** Every weight that the chosen nodes read, once, with its scales. */
function compareWeights(
  module: Module,
  parameters: ReadonlyMap<string, Parameter>,
  chosen: (node: Node) => boolean,
): WeightBytes | undefined {
  const weights = new Set<Parameter>();
  const scales = new Set<Parameter>();
  for (const node of module.functions.flatMap((fn) => fn.nodes).filter(chosen)) {
    node.operands.forEach((value, i) => {
      const parameter = value?.kind === 'parameter' ? parameters.get(value.ref!) : undefined;
      if (parameter) (i < 2 ? weights : scales).add(parameter);
    });
  }
  if (weights.size === 0) return undefined;
  const sum = (list: Iterable<Parameter>) => [...list].reduce((total, { type }) => total + bytesOfType(type), 0);
  const bytes = sum(weights) + sum(scales);
  const bf16Bytes = [...weights].reduce((total, { type }) => total + bytesOfType({ ...type, dtype: 'bf16' }), 0);
  return { count: weights.size, bytes, bf16_bytes: bf16Bytes, ratio: bytes / bf16Bytes };
}
