/** @file Where a lowered function quantizes, and what people call the tensor. */
import { coreOps, type GraphFunction, type Node, type Value } from '@quaver/ir';
import { type GradientProduct, layerLocation } from '../autodiff/gradient-marks.ts';
import { parameterOnlyValues, producersOf, usersOf } from '../graph/value-uses.ts';
import { linearProduct, readLowered } from '../lowering/annotations.ts';

/** One quantization: `codes` ≈ `x` / `scale` of its block. */
export interface QuantizationSite {
  readonly node: Node;
  readonly x: Value;
  readonly codes: Value;
  readonly scale: Value;
  readonly block: readonly number[];
  /** `model.layers.0.mlp.up_proj.input`, `….weight`, `….grad_output (dgrad)`; unique in the function. */
  readonly tensor: string;
}

/** What hands its first operand on, in another shape or as the numbers that codes stand for. */
const passes: ReadonlySet<string> = new Set(['reshape', 'transpose', 'dequantize', 'convert']);

/**
 * The quantizations of a function in order. What several products read is named after the first of them; what is computed again for
 * the backward pass is listed once.
 */
export function quantizationSites(fn: GraphFunction): QuantizationSite[] {
  const uses = new Uses(fn);
  const sites = new Map<string, QuantizationSite>();
  for (const node of fn.nodes) {
    const parts = partsOf(node);
    if (!parts) continue;
    const stored = uses.storedAs(parts.codes);
    const tensor =
      stored === undefined
        ? (uses.nameOf(parts.codes, parts.x) ?? `${layerLocation(node)} (${parts.codes.name})`.trimStart())
        : uses.weightOf(parts.x, stored, sites);
    if (!sites.has(tensor)) sites.set(tensor, { node, ...parts, tensor });
  }
  return [...sites.values()];
}

function partsOf({ op, operands, results, attributes }: Node): Omit<QuantizationSite, 'node' | 'tensor'> | undefined {
  const block = attributes.block as readonly number[];
  if (op === 'dynamic_quantize') return { x: operands[0]!, codes: results[0]!, scale: results[1]!, block };
  if (op !== 'quantize' && op !== 'stochastic_quantize') return undefined;
  return { x: operands[0]!, codes: results[0]!, scale: operands[1]!, block };
}

/** Who reads a value, through what only hands it on. */
class Uses {
  readonly #fn: GraphFunction;
  readonly #users: ReadonlyMap<Value, readonly Node[]>;
  readonly #producers: ReadonlyMap<Value, Node>;
  readonly #weights: ReadonlySet<Value>;

  constructor(fn: GraphFunction) {
    this.#fn = fn;
    this.#users = usersOf(fn);
    this.#producers = producersOf(fn);
    this.#weights = parameterOnlyValues(fn);
  }

  /** The role in the layer that reads the codes first. */
  nameOf(codes: Value, x: Value): string | undefined {
    const roles: { readonly layer: string; readonly role: string; readonly product: 'fprop' | GradientProduct }[] = [];
    for (const [node, index] of this.#readers(codes)) {
      const lowered = readLowered(node);
      const product = lowered && linearProduct(lowered.role);
      const layer = layerLocation(node);
      if (product) roles.push({ layer, role: this.#roleOf(product, index, x), product });
      else if (node.op === 'attention') return `${layer}.${attentionNames[index] ?? index}`;
    }
    const [first] = roles;
    if (!first) return undefined;
    const { layer, role } = first;
    const products = new Set(roles.filter((item) => item.role === role).map(({ product }) => product));
    const isOwn = role === 'weight' || products.has('fprop') || products.size > 1;
    return `${layer}.${role}${isOwn ? '' : ` (${[...products].join()})`}`;
  }

  #roleOf(product: 'fprop' | GradientProduct, index: number, x: Value): string {
    if (this.#weights.has(x)) return 'weight';
    if (product === 'fprop') return 'input';
    return index === 0 ? 'grad_output' : 'input';
  }

  /** The parameter that the codes become: what `quantize_weights` computes. */
  storedAs(codes: Value): string | undefined {
    const reached = new Set([codes, ...this.#handedOn(codes)]);
    return this.#fn.updates.find(({ target, value }) => target === 'parameter' && reached.has(value))?.name;
  }

  /** The weight that is quantized; codes of it in other blocks have the name of the parameter that they become. */
  weightOf(x: Value, stored: string, taken: ReadonlyMap<string, unknown>): string {
    let source = x;
    for (let node = this.#producers.get(source); node && passes.has(node.op); node = this.#producers.get(source)) {
      source = node.operands[0]!;
    }
    return source.kind === 'parameter' && !taken.has(source.ref!) ? source.ref! : stored;
  }

  /** Nodes that compute with a value, and which operand it is to them. */
  *#readers(value: Value): Generator<readonly [Node, number]> {
    for (const node of this.#users.get(value) ?? []) {
      if (passes.has(node.op)) yield* this.#readers(node.results[0]!);
      else yield [node, node.operands.indexOf(value)];
    }
  }

  *#handedOn(value: Value): Generator<Value> {
    for (const node of this.#users.get(value) ?? []) {
      if (!passes.has(node.op) || node.operands[0] !== value) continue;
      yield node.results[0]!;
      yield* this.#handedOn(node.results[0]!);
    }
  }
}

const attentionNames = Object.keys(coreOps.latest('core', 'attention').operands);
