import { QuaverError } from '@quaver/numerics';
import { type Dim, parseDim } from './dim.ts';
import { type DType, isDType } from './dtype.ts';
import type { Attributes, AttributeValue } from './module.ts';

interface AttributeTypes {
  int: number;
  f64: number;
  bool: boolean;
  string: string;
  dtype: DType;
  ints: readonly number[];
  dims: readonly Dim[];
}

export type AttributeKind = keyof AttributeTypes;

/** One attribute of an op: its kind, its default when it has one, and its allowed values when they are listed. */
export interface AttributeSpec<K extends AttributeKind = AttributeKind> {
  readonly kind: K;
  readonly default?: AttributeTypes[K];
  readonly oneOf?: readonly string[];
}

/** The values that a table of attribute specs describes. */
export type AttributeValues<A extends Readonly<Record<string, AttributeSpec>>> = {
  readonly [K in keyof A]: AttributeTypes[A[K]['kind']];
};

function spec<K extends AttributeKind>(kind: K, value: AttributeTypes[K] | undefined): AttributeSpec<K> {
  return value === undefined ? { kind } : { kind, default: value };
}

/** Constructors for attribute specs; without a default the attribute must be given. */
export const attribute = {
  int: (value?: number): AttributeSpec<'int'> => spec('int', value),
  f64: (value?: number): AttributeSpec<'f64'> => spec('f64', value),
  bool: (value?: boolean): AttributeSpec<'bool'> => spec('bool', value),
  dtype: (value?: DType): AttributeSpec<'dtype'> => spec('dtype', value),
  ints: (value?: readonly number[]): AttributeSpec<'ints'> => spec('ints', value),
  dims: (value?: readonly Dim[]): AttributeSpec<'dims'> => spec('dims', value),
  oneOf: (oneOf: readonly string[], value?: string): AttributeSpec<'string'> => ({ ...spec('string', value), oneOf }),
} as const;

const checks: Record<AttributeKind, (value: AttributeValue) => boolean> = {
  int: (value) => Number.isSafeInteger(value),
  f64: (value) => typeof value === 'number',
  bool: (value) => typeof value === 'boolean',
  string: (value) => typeof value === 'string',
  dtype: (value) => typeof value === 'string' && isDType(value),
  ints: (value) => Array.isArray(value) && value.every((item) => Number.isSafeInteger(item)),
  dims: (value) => Array.isArray(value) && value.every(isCanonicalDim),
};

function isCanonicalDim(item: unknown): boolean {
  if (typeof item !== 'number' && typeof item !== 'string') return false;
  try {
    return parseDim(item) === item;
  } catch (error) {
    if (error instanceof QuaverError) return false;
    throw error;
  }
}

/**
 * Fills in defaults and checks kinds.
 * @throws QuaverError `attribute-unknown`, `attribute-missing`, `attribute-type`
 */
export function resolveAttributes(
  op: string,
  specs: Readonly<Record<string, AttributeSpec>>,
  given: Attributes,
): Attributes {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(specs, name)) {
      throw new QuaverError('attribute-unknown', `op ${op} has no attribute '${name}'`, {
        hint: `Its attributes are: ${Object.keys(specs).join(', ') || 'none'}.`,
        where: { op, attribute: name },
      });
    }
  }
  const resolved: Record<string, AttributeValue> = {};
  for (const [name, attributeSpec] of Object.entries(specs)) {
    const value = Object.hasOwn(given, name) ? given[name] : attributeSpec.default;
    if (value === undefined) {
      throw new QuaverError('attribute-missing', `op ${op} needs the attribute '${name}'`, {
        hint: `Give ${name} as ${attributeSpec.kind}.`,
        where: { op, attribute: name },
      });
    }
    if (!checks[attributeSpec.kind](value) || (attributeSpec.oneOf && !attributeSpec.oneOf.includes(value as string))) {
      throw new QuaverError('attribute-type', `attribute '${name}' of op ${op} is ${JSON.stringify(value)}`, {
        hint: `Expected ${attributeSpec.oneOf ? `one of ${attributeSpec.oneOf.join(', ')}` : attributeSpec.kind}.`,
        where: { op, attribute: name },
      });
    }
    resolved[name] = value;
  }
  return resolved;
}
