/**
 * @file The notes that `differentiate` leaves on the nodes that it appends. They say which nodes compute gradients, and which
 * of those are the two products of a linear layer, so that a recipe can give every product its own precision.
 */
import type { Node, Value } from '@quaver/ir';

/** The products that a linear layer y = x · Wᵀ has in the backward pass: dx = dy · W and dW = dyᵀ · x. */
export type GradientProduct = 'dgrad' | 'wgrad';

const suffix = '.gradient';

/** Where the gradient of a node at a location is computed; nowhere for nodes without a location. */
export function gradientLocation(location: string): string {
  return location === '' ? '' : `${location}${suffix}`;
}

/** The location of the layer that a node belongs to: of the node itself, or of the one whose gradient it computes. */
export function layerLocation({ location, annotations }: Pick<Node, 'location' | 'annotations'>): string {
  const isGradient = annotations.gradient_of !== undefined && location.endsWith(suffix);
  return isGradient ? location.slice(0, -suffix.length) : location;
}

export function isGradient({ annotations }: Pick<Node, 'annotations'>): boolean {
  return annotations.gradient_of !== undefined;
}

export function readGradientProduct({ annotations }: Pick<Node, 'annotations'>): GradientProduct | undefined {
  const product = annotations.gradient_product;
  return product === 'dgrad' || product === 'wgrad' ? product : undefined;
}

/**
 * The nodes with their notes: `gradient_of` names the op that they differentiate; `gradient_product` marks dgrad and wgrad when
 * that op is a `dot_general` with a weight. `gradients` are those of its operands, in order.
 */
export function markGradients(
  nodes: readonly Node[],
  of: Node,
  gradients: readonly (Value | string | undefined)[],
  weights: ReadonlySet<Value>,
): Node[] {
  const products = productsOf(nodes, of, gradients, weights);
  return nodes.map((node) => {
    const product = products.get(node);
    const marks = { gradient_of: of.op, ...(product === undefined ? {} : { gradient_product: product }) };
    return { ...node, annotations: { ...node.annotations, ...marks } };
  });
}

function productsOf(
  nodes: readonly Node[],
  { op, operands }: Node,
  gradients: readonly (Value | string | undefined)[],
  weights: ReadonlySet<Value>,
): Map<Node, GradientProduct> {
  const products = new Map<Node, GradientProduct>();
  const weightSide = [1, 0].find((side) => weights.has(operands[side]!));
  if (op !== 'dot_general' || weightSide === undefined) return products;
  const producers = new Map(nodes.flatMap((node) => node.results.map((value) => [value, node] as const)));
  gradients.forEach((gradient, side) => {
    let node = typeof gradient === 'object' ? producers.get(gradient) : undefined;
    while (node && node.op !== 'dot_general') node = producers.get(node.operands[0]!);
    if (node) products.set(node, side === weightSide ? 'wgrad' : 'dgrad');
  });
  return products;
}
