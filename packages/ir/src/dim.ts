/**
 * @file Dimensions: a number, or an expression over symbolic dimensions.
 *
 * The grammar is small on purpose, so that two equal dimensions always have the same canonical text:
 *   dim    := number | term
 *   term   := symbol | number '*' factors | factors          (a product; the coefficient comes first)
 *   factor := symbol | 'ceildiv(' dim ',' number ')'
 * Factors are sorted; sums do not occur, because no op of the registry makes one.
 */
import { QuaverError } from '@quaver/numerics';

/** A dimension: a non-negative integer, or a canonical expression such as `B`, `2*B*T` or `ceildiv(T,128)`. */
export type Dim = number | string;

/** Values of symbolic dimensions, by symbol name. */
export type DimBindings = Readonly<Record<string, number>>;

interface Product {
  readonly coefficient: number;
  readonly factors: readonly string[];
}

const symbolPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

function parseProduct(dim: Dim): Product {
  if (typeof dim === 'number') return { coefficient: dim, factors: [] };
  let coefficient = 1;
  const factors: string[] = [];
  for (const part of splitTopLevel(dim, '*')) {
    if (/^\d+$/.test(part)) coefficient *= Number(part);
    else factors.push(part);
  }
  return { coefficient, factors };
}

function splitTopLevel(text: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')') depth--;
    else if (depth === 0 && text[i] === separator) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

function formatProduct({ coefficient, factors }: Product): Dim {
  if (factors.length === 0 || coefficient === 0) return coefficient;
  const sorted = [...factors].sort();
  return coefficient === 1 ? sorted.join('*') : `${coefficient}*${sorted.join('*')}`;
}

/** The canonical product of dimensions; the product of none is 1. */
export function multiplyDims(...dims: readonly Dim[]): Dim {
  let coefficient = 1;
  const factors: string[] = [];
  for (const dim of dims) {
    const product = parseProduct(dim);
    coefficient *= product.coefficient;
    factors.push(...product.factors);
  }
  return formatProduct({ coefficient, factors });
}

/** ⌈dim / divisor⌉; exact multiples are divided out (`ceildiv(128*T, 128)` is `T`). */
export function ceilDivDim(dim: Dim, divisor: number): Dim {
  if (typeof dim === 'number') return Math.ceil(dim / divisor);
  if (divisor === 1) return dim;
  const product = parseProduct(dim);
  if (product.coefficient % divisor === 0) {
    return formatProduct({ coefficient: product.coefficient / divisor, factors: product.factors });
  }
  return `ceildiv(${dim},${divisor})`;
}

/**
 * Checks and canonicalizes a dimension written by a person or read from a file.
 * @throws QuaverError `dim-syntax`
 */
export function parseDim(source: Dim): Dim {
  return parseNested(source, 0);
}

function parseNested(source: Dim, depth: number): Dim {
  const fail = (): never => {
    throw new QuaverError('dim-syntax', `'${String(source).slice(0, 80)}' is not a dimension`, {
      hint: 'Write a non-negative integer, a symbol, a product such as 2*B*T, or ceildiv(T,128).',
    });
  };
  if (typeof source === 'number') return Number.isSafeInteger(source) && source >= 0 ? source : fail();
  const text = source.replaceAll(' ', '');
  if (text.length > 200 || depth > 8) fail();
  const dims = splitTopLevel(text, '*').map((part): Dim => {
    if (/^\d+$/.test(part)) return Number.isSafeInteger(Number(part)) ? Number(part) : fail();
    if (symbolPattern.test(part)) return part;
    const call = /^ceildiv\((.+),(\d+)\)$/.exec(part);
    if (!call || Number(call[2]) < 1) return fail();
    return ceilDivDim(parseNested(/^\d+$/.test(call[1]!) ? Number(call[1]) : call[1]!, depth + 1), Number(call[2]));
  });
  const product = multiplyDims(...dims);
  return typeof product === 'number' && !Number.isSafeInteger(product) ? fail() : product;
}

/** The symbols a dimension mentions, each once. */
export function dimSymbols(dim: Dim): string[] {
  if (typeof dim === 'number') return [];
  const names = dim.match(/[A-Za-z_][A-Za-z0-9_]*/g) ?? [];
  return [...new Set(names.filter((name) => name !== 'ceildiv'))];
}

/**
 * The number a dimension stands for.
 * @throws QuaverError `dim-unbound` when a symbol has no value.
 */
export function evaluateDim(dim: Dim, bindings: DimBindings): number {
  if (typeof dim === 'number') return dim;
  const { coefficient, factors } = parseProduct(dim);
  let value = coefficient;
  for (const factor of factors) value *= evaluateFactor(factor, bindings);
  return value;
}

function evaluateFactor(factor: string, bindings: DimBindings): number {
  if (factor.startsWith('ceildiv(')) {
    const inner = factor.slice('ceildiv('.length, -1);
    const comma = inner.lastIndexOf(',');
    const dim = inner.slice(0, comma);
    return Math.ceil(evaluateDim(/^\d+$/.test(dim) ? Number(dim) : dim, bindings) / Number(inner.slice(comma + 1)));
  }
  const value = bindings[factor];
  if (value === undefined) {
    throw new QuaverError('dim-unbound', `the symbolic dimension ${factor} has no value`, {
      hint: `Bind ${factor}: it is taken from the shape of an input that mentions it.`,
    });
  }
  return value;
}
