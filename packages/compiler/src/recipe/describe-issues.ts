import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/** What is wrong with a document that people wrote: one line per problem with its path, what was expected, what was found. */
export function describeIssues({ issues }: z.ZodError, document: string): string[] {
  return issues.flatMap((issue) => describeIssue(issue, [], document));
}

function describeIssue(issue: Issue, parent: readonly PropertyKey[], document: string): string[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union' && issue.errors.length > 0) return describeUnion(issue.errors, path, document);
  const name = path.length === 0 ? document : path.join('.');
  if (issue.code === 'invalid_value') return [`${name}: expected one of ${issue.values.join(', ')}`];
  if (issue.code === 'unrecognized_keys') return [`${name}: unknown field ${issue.keys.join(', ')}`];
  return [`${name}: ${issue.message}`];
}

/** The branch that got furthest is the one that was meant; when none got anywhere, all of them are listed. */
function describeUnion(
  branches: readonly (readonly Issue[])[],
  path: readonly PropertyKey[],
  document: string,
): string[] {
  const score = (issues: readonly Issue[]) =>
    issues.some((issue) => issue.path.length === 0 && issue.code !== 'unrecognized_keys') ? 0 : 1;
  const meant = branches.filter((issues) => score(issues) > 0);
  const described = (meant.length > 0 ? meant : branches).map((issues) =>
    issues.flatMap((issue) => describeIssue(issue, path, document)).join(', '),
  );
  return [described.join(', or ')];
}
