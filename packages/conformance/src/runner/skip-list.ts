import { QuaverError } from '@quaver/numerics';

/** Case patterns (`*` is anything) with the reason why the case is known to fail. */
export type SkipList = Readonly<Record<string, string>>;

/**
 * Checks what was read from a file.
 * @throws QuaverError `skip-list-invalid`
 */
export function parseSkipList(json: string, source: string): SkipList {
  const fail = (problem: string, cause?: unknown) =>
    new QuaverError('skip-list-invalid', `${source}: ${problem}`, {
      hint: 'A skip list is {"case pattern": "reason", …}; * in a pattern stands for anything.',
      where: { file: source },
      cause,
    });
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch (cause) {
    throw fail(`it is not JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof list !== 'object' || list === null || Array.isArray(list)) throw fail('it is not an object');
  for (const [pattern, reason] of Object.entries(list)) {
    if (typeof reason !== 'string' || reason.trim() === '') throw fail(`"${pattern}" has no reason`);
  }
  return list as SkipList;
}

/** Looks cases up in a skip list, and knows which of its patterns named none. */
export class Skips {
  readonly #patterns: readonly { readonly pattern: string; readonly matches: RegExp; readonly reason: string }[];
  readonly #used = new Set<string>();

  constructor(list: SkipList) {
    this.#patterns = Object.entries(list).map(([pattern, reason]) => ({
      pattern,
      matches: new RegExp(`^${pattern.split('*').map(literal).join('.*')}$`, 's'),
      reason,
    }));
  }

  reasonFor(name: string): string | undefined {
    const found = this.#patterns.filter(({ matches }) => matches.test(name));
    for (const { pattern } of found) this.#used.add(pattern);
    return found[0]?.reason;
  }

  get unused(): readonly string[] {
    return this.#patterns.map(({ pattern }) => pattern).filter((pattern) => !this.#used.has(pattern));
  }
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
