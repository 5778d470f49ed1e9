/**
 * @file The notes on nodes through which `annotate-precision`, `fp8-lower` and the report talk to each other.
 * They travel with the module, so that each of the three can run alone.
 */
import type { Node } from '@quaver/ir';
import type { GradientProduct } from '../autodiff/gradient-marks.ts';
import type { HighPrecision, Phase } from '../recipe/recipe.ts';

/** What a node is to a recipe; `linear` is the forward product of a linear layer. */
export type Role = 'linear' | `linear.${GradientProduct}` | 'attention' | 'attention.gradient' | 'embedding';

/** What is asked of a node: the recipe's choice for a phase, or a precision that a rule chose. */
export interface PrecisionRequest {
  readonly role: Role;
  readonly choice: Phase | HighPrecision;
}

type Annotations = Readonly<Record<string, string>>;

/** `precision`: role@choice, what `fp8-lower` still has to do. */
export function requestAnnotation({ role, choice }: PrecisionRequest, keptBy?: string): Annotations {
  return { precision: `${role}@${choice}`, ...(keptBy === undefined ? {} : { kept: keptBy }) };
}

const requestPattern = /^(linear(?:\.dgrad|\.wgrad)?|attention(?:\.gradient)?|embedding)@(generate|train|f32|bf16)$/;

export function readRequest(node: Node): PrecisionRequest | undefined {
  const match = requestPattern.exec(node.annotations.precision ?? '');
  return match ? { role: match[1] as Role, choice: match[2] as PrecisionRequest['choice'] } : undefined;
}

function withoutRequest(annotations: Annotations): Annotations {
  const { precision: _, ...rest } = annotations;
  return rest;
}

/** `lowered`: role, then the precision that the node computes in. */
export function loweredAnnotation(node: Node, role: Role, precision: string): Annotations {
  return { ...withoutRequest(node.annotations), lowered: `${role} ${precision}` };
}

export function readLowered(node: Node): { readonly role: Role; readonly precision: string } | undefined {
  const text = node.annotations.lowered;
  if (text === undefined) return undefined;
  const space = text.indexOf(' ');
  return { role: text.slice(0, space) as Role, precision: text.slice(space + 1) };
}

/** The product of a linear layer that a role stands for; undefined for roles of other nodes. */
export function linearProduct(role: Role): 'fprop' | GradientProduct | undefined {
  if (role === 'linear') return 'fprop';
  return role === 'linear.dgrad' || role === 'linear.wgrad'
    ? (role.slice('linear.'.length) as GradientProduct)
    : undefined;
}

/** Why a node does not get the precision that was asked for. */
export interface Refusal {
  /** Stable, kebab-case. */
  readonly code: string;
  readonly reason: string;
  readonly hint: string;
}

export function refusedAnnotation(node: Node, { code, reason, hint }: Refusal): Annotations {
  return { ...withoutRequest(node.annotations), not_lowered: code, reason, hint };
}

export function readRefusal(node: Node): Refusal | undefined {
  const { not_lowered: code, reason = '', hint = '' } = node.annotations;
  return code === undefined ? undefined : { code, reason, hint };
}
