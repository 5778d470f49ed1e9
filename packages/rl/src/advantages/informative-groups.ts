/** Whether all are one number; also of none or one. */
export function areEqual(rewards: readonly number[]): boolean {
  return rewards.every((reward) => reward === rewards[0]);
}

/**
 * Dynamic sampling (Yu et al., DAPO, 2025, arXiv:2503.14476, section 3.2): groups whose rewards are all equal have no
 * gradient; they are left out of the batch and of its mean. The rewards are those of the task, without what the length
 * of a response adds.
 */
export function informativeGroups(groups: readonly (readonly number[])[]): {
  /** Indices of the groups that stay. */
  readonly kept: readonly number[];
  readonly dropped: number;
} {
  const kept = groups.flatMap((rewards, i) => (areEqual(rewards) ? [] : [i]));
  return { kept, dropped: groups.length - kept.length };
}
