/** @file What a recipe says that cannot be done together; the shape of the data alone does not rule it out. */
import { productPrecision } from './linear-products.ts';
import { type PhasePrecision, phases, type Quantization, type QuantizedLinear, type Recipe } from './recipe.ts';

/** One line per conflict, with the path of the field. */
export function findConflicts(recipe: Recipe): string[] {
  return phases.flatMap((phase) => {
    const { linear } = recipe[phase];
    const ofLinear = typeof linear === 'string' ? [] : linearConflicts(linear, `${phase}.linear`);
    return [...attentionConflicts(recipe[phase], phase), ...ofLinear];
  });
}

function attentionConflicts({ kv_cache: cache, attention }: PhasePrecision, phase: string): string[] {
  const conflicts: string[] = [];
  if ((attention === 'f32') !== (cache === 'f32')) {
    conflicts.push(`${phase}.kv_cache is ${cache} but ${phase}.attention is ${attention}: f32 goes with f32 only`);
  }
  if (attention === 'fp8' && cache !== 'fp8') {
    conflicts.push(`${phase}.attention is fp8 but ${phase}.kv_cache is ${cache}: FP8 attention needs an FP8 cache`);
  }
  return conflicts;
}

function linearConflicts(linear: QuantizedLinear, path: string): string[] {
  const { input, weight, grad_output } = linear;
  const operands = Object.entries({ input, weight, grad_output });
  const conflicts = operands.flatMap(([role, spec]) => quantizationConflicts(spec, `${path}.${role}`));
  if (weight.granularity === 'delayed') {
    conflicts.push(
      `${path}.weight.granularity is delayed, but weights are known before the step: tensor, row or block`,
    );
  }
  for (const [role, spec] of Object.entries({ input, weight }))
    conflicts.push(...roundingConflicts(spec, `${path}.${role}`));
  for (const product of ['dgrad', 'wgrad'] as const) {
    const change = linear[product];
    if (change === undefined || typeof change === 'string') continue;
    for (const [role, spec] of Object.entries(change as Readonly<Record<string, Quantization | undefined>>)) {
      if (!spec) continue;
      const at = `${path}.${product}.${role}`;
      conflicts.push(...quantizationConflicts(spec, at));
      if (role !== 'grad_output') conflicts.push(...roundingConflicts(spec, at));
      if (spec.granularity === 'delayed') {
        conflicts.push(`${at}.granularity is delayed, but an operand has one amax history: say so in ${path}.${role}`);
      }
    }
  }
  return [...conflicts, ...blockConflicts(linear, path)];
}

function quantizationConflicts({ granularity, scale, history }: Quantization, path: string): string[] {
  const conflicts: string[] = [];
  if (scale.dtype === 'f8e8m0fnu' && scale.rounding === 'none') {
    conflicts.push(`${path}.scale.rounding is none but f8e8m0fnu holds powers of two only: pow2_up or pow2_nearest`);
  }
  if ((granularity === 'delayed') !== (history !== undefined)) {
    conflicts.push(`${path}.history goes with granularity delayed, and only with it`);
  }
  return conflicts;
}

function roundingConflicts({ rounding }: Quantization, path: string): string[] {
  return rounding === 'stochastic' ? [`${path}.rounding is stochastic: that is for grad_output only`] : [];
}

/** Both operands of a product are cut along the axis that it contracts, into blocks that must fit together. */
function blockConflicts(linear: QuantizedLinear, path: string): string[] {
  const names = {
    fprop: ['input', 'weight'],
    dgrad: ['grad_output', 'weight'],
    wgrad: ['grad_output', 'input'],
  } as const;
  return (['fprop', 'dgrad', 'wgrad'] as const).flatMap((product) => {
    const precision = productPrecision(linear, product);
    if (typeof precision === 'string') return [];
    const [lhs, rhs] = [contractedBlock(precision.lhs), contractedBlock(precision.rhs)];
    if (blocksDivide(lhs, rhs)) return [];
    const [left, right] = names[product];
    const [at, axis] = product === 'fprop' ? [path, 'k'] : [`${path}.${product}`, 'its contracted axis'];
    return [`${at}: blocks of ${lhs} (${left}) and ${rhs} (${right}) along ${axis} do not divide`];
  });
}

function contractedBlock({ granularity }: Quantization): number {
  return typeof granularity === 'string' ? 0 : granularity.block[1];
}

/** Partial sums are as long as the shortest block, at most 128; longer blocks must be a whole number of them. 0 fits all. */
function blocksDivide(...sizes: readonly number[]): boolean {
  const blocks = sizes.filter((size) => size > 0);
  const segment = Math.min(128, ...blocks);
  return blocks.every((size) => size % segment === 0);
}
