import { createHash, type Hash } from 'node:crypto';
import { mkdir, open, rename } from 'node:fs/promises';
import path from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { type FileDigest, fileBytes, hashInto } from './file-digest.ts';
import type { ListedFile } from './listing.ts';
import { PartialFile } from './partial-file.ts';
import { connectionFailure, hubGet, parseBytes, pauseBeforeRetry, stallGuard, TransientFailure } from './request.ts';
import { checkAborted, type PullSettings } from './settings.ts';

/** Progress that makes an earlier failure not count any more. */
const PROGRESS_BYTES = 1024 * 1024;

/**
 * Downloads one file to `final`: into a partial file that a later call can go on with, checked against the digest of the
 * hub, then renamed. An existing `final` is replaced.
 * @throws QuaverError `hub-checksum-mismatch` (nothing is kept), `hub-unreachable`, `hub-unavailable` (the partial file is
 * kept), `aborted` (kept), and those of `hubGet`
 */
export async function downloadFile(
  file: ListedFile,
  url: string,
  final: string,
  settings: PullSettings,
): Promise<FileDigest> {
  await mkdir(path.dirname(final), { recursive: true });
  const partial = await PartialFile.claim(final);
  try {
    const digest = await withRetries(file, url, partial, settings);
    await rename(partial.path, final);
    return digest;
  } catch (error) {
    // On a full disk the unfinished bytes are what fills it.
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') await partial.discard();
    else await partial.release();
    throw error;
  }
}

async function withRetries(
  file: ListedFile,
  url: string,
  partial: PartialFile,
  settings: PullSettings,
): Promise<FileDigest> {
  let failures = 0;
  let mismatches = 0;
  for (;;) {
    const before = (await fileBytes(partial.path)) ?? 0;
    try {
      return await attempt(file, url, partial, settings);
    } catch (failure) {
      checkAborted(settings.signal);
      if (failure instanceof QuaverError && failure.code === 'hub-checksum-mismatch') {
        await partial.discard();
        // Bytes of an earlier pull may have been the bad ones: once more, from zero.
        if (before > 0 && mismatches++ === 0) continue;
      }
      if (!(failure instanceof TransientFailure)) throw failure;
      const after = (await fileBytes(partial.path)) ?? 0;
      failures = after - before >= PROGRESS_BYTES ? 1 : failures + 1;
      if (failures > settings.timing.retries) throw failure.error;
      await pauseBeforeRetry(failures, failure, settings);
    }
  }
}

/** What one attempt knows and counts. */
interface Transfer {
  received: number;
  total: number | undefined;
  sha256: Hash;
  gitBlob: Hash | undefined;
}

function startTransfer(file: ListedFile): Transfer {
  const gitBlob = file.gitBlob !== undefined && file.bytes !== undefined ? createHash('sha1') : undefined;
  gitBlob?.update(`blob ${file.bytes}\0`);
  return { received: 0, total: file.bytes, sha256: createHash('sha256'), gitBlob };
}

async function attempt(
  file: ListedFile,
  url: string,
  partial: PartialFile,
  settings: PullSettings,
): Promise<FileDigest> {
  const guard = stallGuard(settings.timing.stallMs, settings.signal);
  try {
    const have = (await fileBytes(partial.path)) ?? 0;
    const range: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
    // A partial file of the whole length has only to be checked; an empty file has nothing to ask for but itself.
    const complete = have > 0 && have === file.bytes;
    const answer = complete ? undefined : await hubGet(url, range, settings, guard.signal);
    const transfer = startTransfer(file);
    if (answer !== undefined && refusesRange(answer.response, have, transfer)) {
      await answer.response.body?.cancel();
      await partial.discard();
      throw lost(url, `the server does not go on at byte ${have}`);
    }
    const resumed = complete || answer?.response.status === 206;
    if (resumed) transfer.received = await hashInto(hashesOf(transfer), partial.path, settings.signal);
    if (answer !== undefined) {
      transfer.total ??= answer.linkedBytes ?? announcedTotal(answer.response);
      await receive(file, answer.response, partial, transfer, resumed, guard.touch, settings);
    }
    if (transfer.total !== undefined && transfer.received < transfer.total) {
      throw lost(url, `the connection ended after ${transfer.received} of ${transfer.total} bytes`);
    }
    return checkDigests(file, url, transfer, answer?.linkedSha256);
  } catch (failure) {
    // fetch reports a broken body as a TypeError with a cause, a stall as the reason of the guard.
    const network = guard.signal.aborted || (failure instanceof TypeError && failure.cause !== undefined);
    throw network && !(failure instanceof TransientFailure) ? connectionFailure(new URL(url).origin, failure) : failure;
  } finally {
    guard.stop();
  }
}

/** Whether a request from byte `have` was answered with some other part, or with none. (A 200 is the whole file.) */
function refusesRange(response: Response, have: number, transfer: Transfer): boolean {
  if (response.status !== 206) return response.status === 416;
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  const sameFile = transfer.total === undefined || total === '*' || parseBytes(total) === transfer.total;
  return parseBytes(first) !== have || !sameFile;
}

function announcedTotal(response: Response): number | undefined {
  if (response.status === 206) return parseBytes(response.headers.get('content-range')?.split('/')[1]);
  return parseBytes(response.headers.get('content-length'));
}

async function receive(
  file: ListedFile,
  response: Response,
  partial: PartialFile,
  transfer: Transfer,
  append: boolean,
  touch: () => void,
  settings: PullSettings,
): Promise<void> {
  const handle = await open(partial.path, append ? 'a' : 'w');
  const report = () =>
    settings.report({
      phase: 'download',
      file: file.name,
      receivedBytes: transfer.received,
      totalBytes: transfer.total,
    });
  try {
    report();
    for await (const chunk of response.body ?? []) {
      touch();
      checkAborted(settings.signal);
      if (transfer.total !== undefined && transfer.received + chunk.byteLength > transfer.total) {
        throw mismatch(file, response.url, `expected ${transfer.total} bytes, found more`);
      }
      await handle.writeFile(chunk);
      for (const hash of hashesOf(transfer)) hash.update(chunk);
      transfer.received += chunk.byteLength;
      report();
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const hashesOf = ({ sha256, gitBlob }: Transfer): Hash[] => (gitBlob ? [sha256, gitBlob] : [sha256]);

function checkDigests(file: ListedFile, url: string, transfer: Transfer, linkedSha256: string | undefined): FileDigest {
  const sha256 = transfer.sha256.digest('hex');
  const expected = file.sha256 ?? linkedSha256;
  if (expected !== undefined && sha256 !== expected) {
    throw mismatch(file, url, `expected sha256 ${expected}, found ${sha256}`);
  }
  const gitBlob = transfer.gitBlob?.digest('hex');
  if (gitBlob !== undefined && gitBlob !== file.gitBlob) {
    throw mismatch(file, url, `expected git blob ${file.gitBlob}, found ${gitBlob}`);
  }
  return { bytes: transfer.received, sha256 };
}

const mismatch = (file: ListedFile, url: string, problem: string) =>
  new QuaverError('hub-checksum-mismatch', `${url}: ${problem}`, {
    hint: 'The bytes are not those that the hub announced and were thrown away. Pull again; if it repeats, the mirror or a proxy alters files.',
    where: { file: file.name, url },
  });

const lost = (url: string, problem: string) =>
  new TransientFailure(
    new QuaverError('hub-unreachable', `${url}: ${problem}`, { hint: 'Pull again to go on where it stopped.' }),
  );
