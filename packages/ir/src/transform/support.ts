import type { Node } from '../module.ts';

/** An executor's answer about one node: it runs it (natively or emulated), or it does not and says why. */
export type Support =
  | { readonly ok: true; readonly native: boolean }
  | { readonly ok: false; readonly code: string; readonly reason: string; readonly hint?: string };

/** Asks an executor about a node. Types are on the node's values. */
export type Supports = (node: Node) => Support;
