/**
 * @file Rematerialization: values of the forward pass that are computed again where the backward pass needs them, so that
 * they need no memory in between (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost").
 */
import type { FunctionRewriter, Node, OpRegistry, Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/**
 * - `none`: everything that the backward pass needs is kept.
 * - `cheap`: results of products and attention are kept, the rest of a layer (norms, activations, casts) is computed again.
 * - `layers`: only what goes from layer to layer is kept; the backward pass of a layer begins with its forward pass.
 */
export type RematPolicy = 'none' | 'cheap' | 'layers';

export const rematPolicies: readonly RematPolicy[] = ['none', 'cheap', 'layers'];

const kept: Readonly<Record<RematPolicy, (node: Node) => boolean>> = {
  none: () => true,
  cheap: ({ op }) => op === 'dot_general' || op === 'scaled_dot' || op === 'attention',
  layers: () => false,
};

/** @throws QuaverError `autodiff-remat` */
function checkRematPolicy(policy: string): void {
  if (Object.hasOwn(kept, policy)) return;
  throw new QuaverError('autodiff-remat', `there is no rematerialization policy '${policy}'`, {
    hint: `Policies are ${rematPolicies.join(', ')}.`,
  });
}

/** The layer that a location lies in, up to its number: `model.layers.3`; undefined outside of layers. */
function layerOf(location: string): string | undefined {
  return /^(?:[^.]+\.)*?\d+(?=\.|$)/.exec(location)?.[0];
}

/** Stands nodes that were computed again in for those of the forward pass. */
export class Recomputation {
  readonly #rewriter: FunctionRewriter;
  readonly #registry: OpRegistry;
  readonly #layers = new Map<string, Node[]>();
  /** By value of the forward pass. */
  readonly #again = new Map<Value, Value>();
  readonly #made = new Set<string>();

  /** @param ahead values that do not depend on inputs: weights and their conversions, which are never computed again */
  constructor(rewriter: FunctionRewriter, policy: RematPolicy, ahead: ReadonlySet<Value>, registry: OpRegistry) {
    checkRematPolicy(policy);
    this.#rewriter = rewriter;
    this.#registry = registry;
    for (const node of rewriter.nodes) {
      const layer = layerOf(node.location);
      if (layer === undefined || kept[policy](node) || node.results.some((value) => ahead.has(value))) continue;
      const nodes = this.#layers.get(layer);
      if (nodes) nodes.push(node);
      else this.#layers.set(layer, [node]);
    }
  }

  /** The node on values that are at hand in the backward pass; the first of a layer has the layer computed again. */
  standIn(node: Node): Node {
    const layer = layerOf(node.location);
    if (layer !== undefined && this.#layers.has(layer) && !this.#made.has(layer)) {
      this.#made.add(layer);
      for (const again of this.#layers.get(layer)!) this.#compute(again, layer);
    }
    const operands = node.operands.map((value) => value && this.#valueOf(value));
    const results = node.results.map((value) => this.#valueOf(value));
    const same =
      operands.every((value, i) => value === node.operands[i]) &&
      results.every((value, i) => value === node.results[i]);
    return same ? node : { ...node, operands, results };
  }

  /** The note keeps the copy from being merged with its original. */
  #compute(node: Node, layer: string): void {
    const operands = node.operands.map((value) => value && this.#valueOf(value));
    const op = this.#registry.get(node.domain, node.op, node.version);
    const annotations = { ...node.annotations, recomputed: layer };
    const results = this.#rewriter.apply(op, operands, node.attributes, { location: node.location, annotations });
    node.results.forEach((value, i) => {
      this.#again.set(value, results[i]!);
    });
  }

  #valueOf(value: Value): Value {
    return this.#again.get(value) ?? value;
  }
}
