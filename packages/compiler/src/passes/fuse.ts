import { FunctionRewriter, type GraphFunction, type Node, type OpRegistry, type Value } from '@quaver/ir';
import { type Candidate, fusions } from '../fusion/candidates.ts';
import { sameComputation } from '../fusion/same-computation.ts';
import { mapFunctions } from '../graph/edit-module.ts';
import { resultsOf, usersOf } from '../graph/value-uses.ts';
import type { Pass } from '../pass.ts';
import { dropDeadNodes } from './dce.ts';

/**
 * Builds composites that executors have kernels for. A table proposes a composite for the last node of a pattern; the
 * composite's own body is then compared with the graph, node by node, and only an exact match is fused. So a fused node
 * gives the same bits by construction, and a new version of an op can never be fused by an old pattern.
 */
export const fuse: Pass = {
  name: 'fuse',
  description: 'Replaces node patterns by the composites whose bodies they are: dynamic_quantize, swiglu and others.',
  run: (module, { registry }) => mapFunctions(module, (fn) => fuseFunction(fn, registry)),
};

function fuseFunction(fn: GraphFunction, registry: OpRegistry): GraphFunction {
  const rewriter = new FunctionRewriter(fn, registry);
  const users = usersOf(fn);
  const kept = resultsOf(fn);
  const usedOnce = (value: Value) => (users.get(value)?.length ?? 0) === 1 && !kept.has(value);
  for (const node of fn.nodes) {
    const current: Node = { ...node, operands: node.operands.map((value) => value && rewriter.resolve(value)) };
    const candidate = propose(current, rewriter, usedOnce, registry);
    if (!candidate) {
      rewriter.keep(node);
      continue;
    }
    const origin = { location: node.location };
    const results = rewriter.apply(
      registry.latest('core', candidate.op),
      candidate.operands,
      candidate.attributes,
      origin,
    );
    rewriter.drop(node);
    for (const [i, value] of candidate.replaces.entries()) if (value) rewriter.replace(value, results[i]!);
  }
  const fused = rewriter.finish();
  return fused === fn ? fn : dropDeadNodes(fused);
}

function propose(
  node: Node,
  rewriter: FunctionRewriter,
  usedOnce: (value: Value) => boolean,
  registry: OpRegistry,
): Candidate | undefined {
  const producer = (value: Value) => rewriter.producer(value);
  for (const fusion of fusions[node.op] ?? []) {
    const candidate = fusion(node, producer, usedOnce);
    if (candidate && sameComputation(candidate, node, producer, registry)) return candidate;
  }
  return undefined;
}
