import { FunctionRewriter, type GraphFunction, type Module, type Node, type Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { isGradient, layerLocation, readGradientProduct } from '../autodiff/gradient-marks.ts';
import { mapFunctions } from '../graph/edit-module.ts';
import { phaseOf } from '../graph/phase.ts';
import { parameterOnlyValues } from '../graph/value-uses.ts';
import { type Role, requestAnnotation } from '../lowering/annotations.ts';
import type { Pass } from '../pass.ts';
import { keepMatcher, layerIndex } from '../recipe/keep-rules.ts';
import type { Phase, Recipe } from '../recipe/recipe.ts';

export const annotatePrecision: Pass = {
  name: 'annotate-precision',
  description:
    'Notes on linear layers, embeddings, attention and their gradients the precision that the recipe asks for, and in the metadata the recipe.',
  run(module, { recipe, registry }) {
    if (module.metadata.lowered !== undefined) {
      throw new QuaverError(
        'module-already-lowered',
        `the module was compiled before, with ${module.metadata.lowered}`,
        {
          hint: 'Compile the imported module; a compiled one has lost the precision that another recipe may need.',
          where: { module: module.name },
        },
      );
    }
    const trainable = new Set(module.parameters.filter((parameter) => parameter.trainable).map(({ name }) => name));
    const layers = countLayers(module);
    const annotated = mapFunctions(module, (fn) => {
      const annotate = annotator(fn, recipe, phaseOf(module, fn.name), layers, trainable);
      const rewriter = new FunctionRewriter(fn, registry);
      for (const node of fn.nodes) rewriter.keep(node, annotate(node));
      return rewriter.finish();
    });
    return { ...annotated, metadata: { ...annotated.metadata, recipe: JSON.stringify(recipe) } };
  },
};

function annotator(fn: GraphFunction, recipe: Recipe, phase: Phase, layers: number, trainable: ReadonlySet<string>) {
  const weights = parameterOnlyValues(fn);
  const kept = keepMatcher(recipe.keep, layers);
  const tables = tableValues(fn, trainable);
  return (node: Node): Node['annotations'] => {
    if (node.annotations.precision !== undefined) return node.annotations;
    const role = roleOf(node, weights, tables);
    if (role === undefined) return node.annotations;
    if (role === 'embedding') return { ...node.annotations, ...requestAnnotation({ role, choice: recipe.embedding }) };
    // A rule keeps a layer, that is all three of its products.
    const rule = role.startsWith('linear') ? kept(layerLocation(node)) : undefined;
    return { ...node.annotations, ...requestAnnotation({ role, choice: rule?.precision ?? phase }, rule?.rule) };
  };
}

function roleOf(node: Node, weights: ReadonlySet<Value>, tables: ReadonlySet<Value>): Role | undefined {
  if (node.op === 'attention') return 'attention';
  if (node.op === 'attention_grad') return 'attention.gradient';
  if (node.op === 'gather') return tables.has(node.operands[0]!) ? 'embedding' : undefined;
  if (node.op !== 'dot_general') return undefined;
  const product = readGradientProduct(node);
  if (product) return `linear.${product}`;
  return !isGradient(node) && node.operands.some((value) => weights.has(value!)) ? 'linear' : undefined;
}

/** Trainable parameters and their conversions: what an embedding gathers from. */
function tableValues(fn: GraphFunction, trainable: ReadonlySet<string>): Set<Value> {
  const tables = new Set(fn.parameters.filter((value) => trainable.has(value.ref!)));
  for (const node of fn.nodes) {
    if (node.op === 'convert' && tables.has(node.operands[0]!)) tables.add(node.results[0]!);
  }
  return tables;
}

function countLayers(module: Module): number {
  let count = 0;
  for (const fn of module.functions) {
    for (const node of fn.nodes) count = Math.max(count, (layerIndex(node.location) ?? -1) + 1);
  }
  return count;
}
