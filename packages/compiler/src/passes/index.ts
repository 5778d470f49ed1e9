import type { Pass } from '../pass.ts';
import { annotatePrecision } from './annotate-precision.ts';
import { canonicalize } from './canonicalize.ts';
import { cse } from './cse.ts';
import { dce } from './dce.ts';
import { emit } from './emit.ts';
import { foldConstants } from './fold-constants.ts';
import { fp8FuseScaledDot } from './fp8-fuse-scaled-dot.ts';
import { fp8Lower } from './fp8-lower.ts';
import { fuse } from './fuse.ts';
import { inferShapes } from './infer-shapes.ts';
import { legalize } from './legalize.ts';
import { partition } from './partition.ts';
import { planMemory } from './plan-memory.ts';
import { verify } from './verify.ts';

/** All passes in the order in which `compile` runs them; some run twice. */
export const passes: readonly Pass[] = [
  verify,
  canonicalize,
  inferShapes,
  annotatePrecision,
  foldConstants,
  cse,
  dce,
  fp8Lower,
  fp8FuseScaledDot,
  cse,
  dce,
  foldConstants,
  fuse,
  partition,
  legalize,
  planMemory,
  emit,
];
