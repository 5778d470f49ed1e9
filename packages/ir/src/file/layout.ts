/** @file Constants of the .qvr layout, and what is derived from a module before writing. See docs/file-format.md. */
import { QuaverError } from '@quaver/numerics';
import type { Module } from '../module.ts';
import type { OpRegistry } from '../registry.ts';

/** The newest format that this release reads, and the one that it writes. Shared by files and the text form. */
export const FORMAT_VERSION = 1;

/** Segments, and the start of the data that they count from, are multiples of this. */
export const SEGMENT_ALIGNMENT = 64;

/** Bytes of the length that precedes the FlatBuffer. */
export const SIZE_PREFIX = 4;

/** Headers above this are refused before they are read. */
export const MAX_HEADER_BYTES: number = 512 * 1024 * 1024;

/** The next multiple of the segment alignment. */
export function alignSegment(offset: number): number {
  return Math.ceil(offset / SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT;
}

/** The highest op version that a module uses in one domain: lets a reader refuse what it does not know. */
export interface Opset {
  readonly domain: string;
  readonly version: number;
}

/** The opsets of a module, by first use. */
export function moduleOpsets(module: Module): Opset[] {
  const versions = new Map<string, number>();
  for (const fn of module.functions) {
    for (const { domain, version } of fn.nodes) versions.set(domain, Math.max(version, versions.get(domain) ?? 1));
  }
  return [...versions].map(([domain, version]) => ({ domain, version }));
}

/**
 * Refuses what this release or registry does not know.
 * @throws QuaverError `module-version`, `op-unknown`
 */
export function checkOpsets(opsets: readonly Opset[], registry: OpRegistry): void {
  const known = new Map<string, number>();
  for (const op of registry.list()) known.set(op.domain, Math.max(op.version, known.get(op.domain) ?? 0));
  for (const { domain, version } of opsets) {
    const newest = known.get(domain);
    if (newest === undefined) {
      throw new QuaverError('op-unknown', `the module uses the op domain '${domain}', which is not registered`, {
        hint: 'Register the package that defines these ops.',
        where: { domain },
      });
    }
    if (version > newest) {
      throw new QuaverError(
        'module-version',
        `the module uses opset ${domain}@${version}, this release knows up to ${newest}`,
        {
          hint: 'Update Quaver to read this module.',
          where: { domain, version },
        },
      );
    }
  }
}

/** @throws QuaverError `module-version` */
export function checkFormatVersion(version: number): void {
  if (version === FORMAT_VERSION) return;
  const problem = version > FORMAT_VERSION ? `this release reads up to ${FORMAT_VERSION}` : 'formats start at 1';
  throw new QuaverError('module-version', `the module has format version ${version}, ${problem}`, {
    hint: version > FORMAT_VERSION ? 'Update Quaver to read this module.' : 'The header was damaged.',
    where: { version },
  });
}
