import type { FunctionRewriter, Node } from '@quaver/ir';
import type { HighPrecision } from '../recipe/recipe.ts';
import { loweredAnnotation } from './annotations.ts';
import type { Lowering } from './lower-linear.ts';
import { inDType } from './precision-change.ts';

/**
 * Gathers from the table in the precision asked for; only the gathered rows are converted back. A table that is stored in
 * 16 bits stays as it is: wider would not help, and another 16-bit format would round again.
 */
export function lowerEmbedding(node: Node, precision: HighPrecision, rewriter: FunctionRewriter): Lowering {
  const table = rewriter.resolve(node.operands[0]!);
  const { dtype } = table.type;
  if (precision === 'f32' || dtype !== 'f32') return { results: node.results, precision: dtype };
  const narrow = inDType(rewriter, table, precision, node);
  const origin = { location: node.location, annotations: loweredAnnotation(node, 'embedding', precision) };
  const rows = rewriter.op('gather', [narrow, node.operands[1]], node.attributes, origin);
  return { results: [rewriter.op('convert', [rows], { to: 'f32' }, { location: node.location })], precision };
}
