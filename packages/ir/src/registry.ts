import { QuaverError } from '@quaver/numerics';
import type { OpDefinition } from './op.ts';

/** Finds op definitions by (domain, name, version). */
export class OpRegistry {
  readonly #ops = new Map<string, OpDefinition>();

  constructor(ops: Iterable<OpDefinition>) {
    for (const op of ops) this.add(op);
  }

  /** @throws QuaverError `op-duplicate` */
  add(op: OpDefinition): void {
    const key = keyOf(op.domain, op.name, op.version);
    if (this.#ops.has(key)) {
      throw new QuaverError('op-duplicate', `the op ${key} is defined twice`, {
        hint: 'A changed op is a new version.',
      });
    }
    this.#ops.set(key, op);
  }

  /** The op, or undefined. */
  find(domain: string, name: string, version: number): OpDefinition | undefined {
    return this.#ops.get(keyOf(domain, name, version));
  }

  /** @throws QuaverError `op-unknown` */
  get(domain: string, name: string, version: number): OpDefinition {
    const op = this.#ops.get(keyOf(domain, name, version));
    if (op) return op;
    const versions = [...this.#ops.values()]
      .filter((o) => o.domain === domain && o.name === name)
      .map((o) => o.version);
    throw new QuaverError('op-unknown', `unknown op ${keyOf(domain, name, version)}`, {
      hint:
        versions.length > 0
          ? `This release knows version ${versions.join(', ')}; the file may come from a newer one.`
          : 'The file may come from a newer release, or need a package that defines this op.',
      where: { op: name },
    });
  }

  /** The newest version of an op. @throws QuaverError `op-unknown` */
  latest(domain: string, name: string): OpDefinition {
    let best: OpDefinition | undefined;
    for (const op of this.#ops.values()) {
      if (op.domain === domain && op.name === name && op.version > (best?.version ?? 0)) best = op;
    }
    return best ?? this.get(domain, name, 1);
  }

  list(): OpDefinition[] {
    return [...this.#ops.values()];
  }
}

function keyOf(domain: string, name: string, version: number): string {
  return `${domain}.${name}@${version}`;
}
