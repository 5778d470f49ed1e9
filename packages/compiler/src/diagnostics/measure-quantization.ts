/** @file Functions that count what FP8 loses, made of those that quantize. */
import {
  coreOps,
  FunctionRewriter,
  findFunction,
  type GraphFunction,
  type Module,
  multiplyDims,
  planMemory,
  type TensorType,
  type Value,
} from '@quaver/ir';
import { floatFormats } from '@quaver/numerics';
import { dropDeadNodes } from '../passes/dce.ts';
import { type QuantizationSite, quantizationSites } from './quantization-sites.ts';

/** A tensor that a function quantizes, before it is quantized. */
export interface MeasuredTensor {
  /** Name with its role: `model.layers.0.mlp.up_proj.input`, `….weight`, `….grad_output (wgrad)`. */
  readonly tensor: string;
  readonly type: TensorType;
}

/** A function that measures the quantizations of another one. */
export interface QuantizationMeasure {
  /** `measure_<function>`: with the inputs of the function, and the output `quantization`; it updates nothing. */
  readonly functionName: string;
  /** What `quantization` f32[3·N] tells of in threes: amax, elements saturated, elements that became zero. */
  readonly tensors: readonly MeasuredTensor[];
}

/** The name of the output of a measuring function. */
export const quantizationOutput = 'quantization';

/**
 * Adds to a compiled module a function that runs one of its functions as far as its quantizations, and gives for every tensor
 * that is quantized
 * - the largest finite magnitude,
 * - how many finite elements have a magnitude above what rounds to the largest value of the format: |x / scale| > 464 in E4M3,
 * - how many elements that are finite and not zero have a code that stands for zero.
 *
 * Counts are exact up to 2^24 in a sixteenth of a tensor. Compile it into a session only where it is wanted: it costs what the
 * function costs, and reads over every tensor besides. Undefined for a function that quantizes nothing, or is not there.
 */
export function measureQuantization(
  module: Module,
  name: string,
): { readonly module: Module; readonly measure: QuantizationMeasure } | undefined {
  const fn = findFunction(module, name);
  const sites = fn ? quantizationSites(fn) : [];
  if (!fn || sites.length === 0) return undefined;
  const functionName = `measure_${name}`;
  const measuring = measuringFunction(fn, functionName, sites);
  const phase = module.metadata[`phase.${name}`];
  return {
    module: {
      ...module,
      functions: [...module.functions, fn.plan ? planMemory(measuring) : measuring],
      metadata: { ...module.metadata, ...(phase === undefined ? {} : { [`phase.${functionName}`]: phase }) },
    },
    measure: { functionName, tensors: sites.map(({ tensor, x }) => ({ tensor, type: x.type })) },
  };
}

function measuringFunction(fn: GraphFunction, name: string, sites: readonly QuantizationSite[]): GraphFunction {
  const rewriter = new FunctionRewriter(fn, coreOps);
  const siteOf = new Map(sites.map((site) => [site.node, site]));
  const counts: Value[] = [];
  for (const node of fn.nodes) {
    rewriter.keep(node);
    const site = siteOf.get(node);
    // Counted where it is quantized: what the counts need is dropped at once.
    if (site) counts.push(...countsOf(rewriter, site));
  }
  rewriter.output(quantizationOutput, concatenated(rewriter, counts));
  const all = rewriter.finish();
  const outputs = all.outputs.filter((output) => output.name === quantizationOutput);
  return dropDeadNodes({ ...all, name, outputs, updates: [] });
}

/** Amax, saturated and underflow, f32[1] each. */
function countsOf(rewriter: FunctionRewriter, site: QuantizationSite): readonly [Value, Value, Value] {
  const { codes, scale, block, node } = site;
  const { shape } = site.x.type;
  const origin = { location: `${node.location}.quantization` };
  const op = (name: string, operands: readonly Value[], attributes = {}) =>
    rewriter.op(name, operands, attributes, origin);
  const splat = (value: number, dtype = 'f32') => op('constant', [], { value, dtype, shape });
  const compare = (lhs: Value, direction: string, rhs: Value) => op('compare', [lhs, rhs], { direction });
  const [zeros, ones] = [splat(0), splat(1)];
  const count = (which: Value) => {
    const flat = op('reshape', [op('select', [which, ones, zeros])], { shape: [multiplyDims(...shape)] });
    return op('reduce', [flat], { kind: 'sum', axes: [0], keep: true });
  };

  const x = site.x.type.dtype === 'f32' ? site.x : op('convert', [site.x], { to: 'f32' });
  const magnitude = op('abs', [x]);
  const finite = op('select', [compare(magnitude, 'LT', splat(Number.POSITIVE_INFINITY)), magnitude, zeros]);
  // The scale of every element: what the code of one stands for.
  const scales = op('dequantize', [splat(1, codes.type.dtype), scale], { to: 'f32', block });
  const limit = splat(floatFormats[codes.type.dtype as 'f8e4m3fn' | 'f8e5m2'].maxRoundable);
  const saturated = compare(op('divide', [finite, scales]), 'GT', limit);
  const restored = op('dequantize', [codes, scale], { to: 'f32', block });
  const underflow = op('and', [compare(restored, 'EQ', zeros), compare(finite, 'GT', zeros)]);
  const amax = op('amax', [finite], { block: shape.map(() => 0) });
  return [op('reshape', [amax], { shape: [1] }), count(saturated), count(underflow)];
}

/** In halves, so that every number is copied a few times only. */
function concatenated(rewriter: FunctionRewriter, parts: readonly Value[]): Value {
  if (parts.length === 1) return parts[0]!;
  const middle = parts.length >> 1;
  const halves = [parts.slice(0, middle), parts.slice(middle)].map((half) => concatenated(rewriter, half));
  return rewriter.op('concatenate', halves, { axis: 0 }, { location: quantizationOutput });
}
