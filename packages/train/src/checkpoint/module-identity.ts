/** @file What identifies the tensors of a run, and what two of them differ in. */
import { createHash } from 'node:crypto';
import type { JsonValue } from '@quaver/formats';
import type { Module } from '@quaver/ir';

/** The parts of an identity, by what people call them. */
export type IdentityParts = Readonly<Record<string, JsonValue>>;

export interface ModuleIdentity {
  /** A checkpoint has the same, or its tensors are for something else. */
  readonly module: string;
  /** What it was made of, to say what differs; left out, errors name the two identities. */
  readonly parts?: IdentityParts | undefined;
}

/**
 * The identity of a module that trains with some choices, such as its optimizer and its recipe.
 * @param choices JSON, in an order that stays; undefined counts as null
 */
export function moduleIdentity(module: Module, choices: Readonly<Record<string, unknown>>): ModuleIdentity {
  const parameters = module.parameters.map(({ name, type, trainable }) => [name, type.shape, trainable]);
  const shape = Object.fromEntries(module.parameters.map(({ name, type }) => [name, type.shape]));
  return {
    module: sha256OfJson([module.name, parameters, ...Object.values(choices)]),
    parts: JSON.parse(JSON.stringify({ model: module.name, ...choices, shape })),
  };
}

function sha256OfJson(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** `optimizer.name was "adamw" and is "sgd"; …`: what differs; undefined where nothing is known of that. */
export function describeDifference(
  before: IdentityParts | undefined,
  now: IdentityParts | undefined,
): string | undefined {
  if (!before || !now) return undefined;
  const all = [...differences(before, now)];
  if (all.length === 0) return undefined;
  const more = all.length > told ? `; and ${all.length - told} more` : '';
  return `${all.slice(0, told).join('; ')}${more}`;
}

/** The first differences tell enough. */
const told = 3;

function* differences(before: JsonValue | undefined, now: JsonValue | undefined, name = ''): Generator<string> {
  if (isObject(before) && isObject(now)) {
    for (const field of new Set([...Object.keys(before), ...Object.keys(now)])) {
      yield* differences(before[field], now[field], name === '' ? field : `${name}.${field}`);
    }
  } else if (text(before) !== text(now)) yield `${name} was ${text(before)} and is ${text(now)}`;
}

function isObject(value: JsonValue | undefined): value is { readonly [field: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: JsonValue | undefined): string {
  return value === undefined ? 'not there' : JSON.stringify(value);
}
