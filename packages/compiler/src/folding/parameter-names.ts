import type { Expression, OpExpression } from './parameter-expression.ts';
import { sourceOf } from './parameter-expression.ts';

/** A folded value that becomes a parameter, and where it is used first. */
export interface FoldedValue {
  readonly expression: OpExpression;
  readonly location: string;
}

/**
 * Names of the new parameters, as in the Hugging Face FP8 layout: codes and converted copies have the weight's own name,
 * scales are `<weight>_scale_inv`. When several values want one name (a table that is embedding and output projection,
 * a weight in FP8 for one phase and BF16 for the other), the layer that the weight is named after goes first, FP8 before
 * others; the rest are named after the layer that uses them, or after their dtype.
 *
 * @param taken names of the parameters that stay
 */
export function nameFolded(values: readonly FoldedValue[], taken: ReadonlySet<string>): Map<Expression, string> {
  const names = new Map<Expression, string>();
  const used = new Set(taken);
  const claim = (expression: Expression, candidates: readonly string[]) => {
    let name = candidates.find((candidate) => !used.has(candidate));
    for (let i = 2; name === undefined; i++) {
      const numbered = `${candidates.at(-1)}.${i}`;
      if (!used.has(numbered)) name = numbered;
    }
    used.add(name);
    names.set(expression, name);
  };
  const scales = new Set(
    values.flatMap(({ expression }) => (isQuantized(expression) ? [expression.operands[1]!] : [])),
  );
  const byRight = values.toSorted((a, b) => rightOf(a) - rightOf(b));
  for (const { expression, location } of byRight) {
    if (scales.has(expression)) continue;
    const { name } = sourceOf(expression);
    const dtypeName = `${name}.${expression.type.dtype}`;
    claim(
      expression,
      sameForm(expression) ? [name, layerWeight(name, location), dtypeName] : [`${name}.${expression.op.name}`],
    );
  }
  for (const { expression } of byRight) {
    if (!isQuantized(expression)) continue;
    const scale = expression.operands[1]!;
    if (values.some((value) => value.expression === scale) && !names.has(scale)) {
      claim(scale, [`${names.get(expression)}_scale_inv`]);
    }
  }
  for (const { expression } of byRight) {
    if (!names.has(expression)) claim(expression, [`${sourceOf(expression).name}_scale_inv`]);
  }
  return names;
}

function isQuantized(expression: Expression): expression is OpExpression {
  return expression.kind === 'op' && expression.op.name === 'quantize';
}

/** True for the weight itself in another element type. */
function sameForm(expression: OpExpression): boolean {
  return expression.op.name === 'quantize' || expression.op.name === 'convert';
}

/** `lm_head.weight` for a use at `lm_head`: the parameter's last part under the name of the layer. */
function layerWeight(parameter: string, location: string): string {
  return location === '' ? parameter : `${location}.${parameter.split('.').at(-1)}`;
}

/** Who may have the weight's own name: uses at its own layer, then FP8, then the order of first use. */
function rightOf({ expression, location }: FoldedValue): number {
  const { name } = sourceOf(expression);
  return (layerWeight(name, location) === name ? 0 : 2) + (isQuantized(expression) ? 0 : 1);
}
