/**
 * @file Upgraders: how nodes of an op version that a newer release replaced are read.
 * A released op's meaning never changes; a change is a new version plus an upgrader from the old one.
 */
import { QuaverError } from '@quaver/numerics';
import type { Node } from '../module.ts';

/**
 * Rewrites a node of an old op version as nodes of newer ones, in execution order. Together they must define the old
 * node's result values, the same objects.
 */
export type Upgrader = (node: Node) => readonly Node[];

/** Upgraders by {@link upgraderKey}. */
export type Upgraders = ReadonlyMap<string, Upgrader>;

export function upgraderKey(domain: string, op: string, version: number): string {
  return `${domain}.${op}@${version}`;
}

/** No core op has been replaced yet. */
export const coreUpgraders: Upgraders = new Map();

const MAX_STEPS = 64;

/**
 * Applies upgraders until none fits.
 * @throws QuaverError `upgrade-endless` when upgraders undo each other
 */
export function upgradeNode(node: Node, upgraders: Upgraders, steps = 0): readonly Node[] {
  const key = upgraderKey(node.domain, node.op, node.version);
  const upgrade = upgraders.get(key);
  if (upgrade === undefined) return [node];
  if (steps >= MAX_STEPS) {
    throw new QuaverError('upgrade-endless', `the upgraders of ${key} never arrive at a current op`, {
      hint: 'An upgrader must give a newer version of its op, or other ops.',
      where: { op: key },
    });
  }
  return upgrade(node).flatMap((next) => upgradeNode(next, upgraders, steps + 1));
}
