import { createHash } from 'node:crypto';
import { QuaverError } from '@quaver/numerics';
import { checkFileName, revisionKey } from './file-name.ts';
import { type HubReference, isCommit } from './reference.ts';
import { connectionFailure, hubGet, pauseBeforeRetry, stallGuard, TransientFailure } from './request.ts';
import { checkAborted, type PullSettings } from './settings.ts';

/** A file of a repository as the hub lists it; digests and sizes where it tells them. */
export interface ListedFile {
  readonly name: string;
  readonly bytes: number | undefined;
  /** Of the content, for files in large-file storage. */
  readonly sha256: string | undefined;
  /** Git blob id (SHA-1 over a header with the size, and the content), for files kept in git itself. */
  readonly gitBlob: string | undefined;
}

export interface Listing {
  /** Commit id, or a digest of the listing for mirrors that name no commit: the key of the cached snapshot. */
  readonly snapshot: string;
  /** What `/resolve/` is asked for, so that all files are of one commit. */
  readonly revision: string;
  readonly files: ReadonlyMap<string, ListedFile>;
}

const MAX_LISTING_BYTES = 64 * 1024 * 1024;

export const repositoryName = (hub: HubReference): string => `${hub.organization}/${hub.model}`;

/**
 * Asks the hub which files a revision has. A hub that gives no answer within `timing.reachMs` is out of reach; busy
 * answers (429, 5xx) are retried.
 * @throws QuaverError `hub-unreachable`, `hub-unavailable`, `hub-bad-listing`, `hub-unsafe-file-name` and those of `hubGet`
 */
export async function listFiles(hub: HubReference, settings: PullSettings): Promise<Listing> {
  const url = `${settings.endpoint}/api/models/${repositoryName(hub)}/revision/${revisionKey(hub.revision)}?blobs=true`;
  let deadline = Date.now() + settings.timing.reachMs;
  for (let failures = 1; ; failures++) {
    try {
      return parseListing(await getText(url, Math.max(1, deadline - Date.now()), settings), hub, url);
    } catch (failure) {
      checkAborted(settings.signal);
      if (!(failure instanceof TransientFailure)) throw failure;
      // One quick second try for a connection that was cut; a busy hub is worth the whole number of retries.
      const unreachable = failure.error.code === 'hub-unreachable';
      const hopeless = unreachable ? failures > 1 || Date.now() + 50 > deadline : failures > settings.timing.retries;
      if (hopeless) throw failure.error;
      await pauseBeforeRetry(failures, failure, settings);
      if (!unreachable) deadline = Date.now() + settings.timing.reachMs;
    }
  }
}

async function getText(url: string, reachMs: number, settings: PullSettings): Promise<string> {
  const guard = stallGuard(reachMs, settings.signal);
  try {
    const { response } = await hubGet(url, { accept: 'application/json' }, settings, guard.signal);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      guard.touch();
      bytes += chunk.byteLength;
      if (bytes > MAX_LISTING_BYTES) {
        throw new QuaverError('hub-bad-listing', `${url}: the listing is longer than ${MAX_LISTING_BYTES} bytes`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } catch (failure) {
    if (failure instanceof QuaverError || failure instanceof TransientFailure) throw failure;
    throw connectionFailure(new URL(url).origin, failure);
  } finally {
    guard.stop();
  }
}

function parseListing(text: string, hub: HubReference, url: string): Listing {
  let document: { sha?: unknown; siblings?: unknown };
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw badListing(url, `is not JSON: ${text.slice(0, 60)}`, cause);
  }
  if (!Array.isArray(document?.siblings)) throw badListing(url, 'has no list "siblings"');
  const files = new Map<string, ListedFile>();
  for (const sibling of document.siblings) {
    if (typeof sibling?.rfilename !== 'string') throw badListing(url, 'has a file without "rfilename"');
    const name = checkFileName(sibling.rfilename, repositoryName(hub));
    const bytes = sibling.lfs?.size ?? sibling.size;
    files.set(name, {
      name,
      bytes: Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : undefined,
      sha256: digest(sibling.lfs?.sha256 ?? sibling.lfs?.oid, 64),
      gitBlob: sibling.lfs ? undefined : digest(sibling.blobId, 40),
    });
  }
  if (typeof document.sha === 'string' && isCommit(document.sha)) {
    return { snapshot: document.sha, revision: document.sha, files };
  }
  const snapshot = createHash('sha1')
    .update(JSON.stringify([...files]))
    .digest('hex');
  return { snapshot, revision: hub.revision, files };
}

function digest(value: unknown, length: number): string | undefined {
  if (typeof value !== 'string') return undefined;
  const hex = value.replace(/^sha256:/, '').toLowerCase();
  return hex.length === length && /^[0-9a-f]+$/.test(hex) ? hex : undefined;
}

const badListing = (url: string, problem: string, cause?: unknown) =>
  new QuaverError('hub-bad-listing', `${url}: the answer ${problem}`, {
    hint: 'Something between here and the hub answers in its place, or HF_ENDPOINT names no hub.',
    cause,
  });
