/** @file All lines, and the choice of some. */
import { modelLines } from './model-lines.mjs';
import { productLines } from './product-lines.mjs';
import { promiseLines } from './promise-lines.mjs';
import { rolloutLines } from './rollout-lines.mjs';
import { trainingLines } from './training-lines.mjs';

export const lines = [...modelLines, ...productLines, ...promiseLines, ...trainingLines, ...rolloutLines];

/** Whether `wanted` is the id, or its first parts: `gemm.fp8` names `gemm.fp8.1024.t1`. */
const names = (wanted, id) => id === wanted || id.startsWith(`${wanted}.`);

/** The lines that the ids name, or all. @throws RangeError for an id that names none */
export function selectLines(only) {
  if (only.length === 0) return lines;
  const unknown = only.find((wanted) => !lines.some(({ id }) => names(wanted, id)));
  if (unknown !== undefined) throw new RangeError(`no line is called '${unknown}'; --list prints them all`);
  return lines.filter(({ id }) => only.some((wanted) => names(wanted, id)));
}
