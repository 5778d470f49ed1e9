import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { downloadFile } from './download.ts';
import { digestFile, type FileDigest, fileBytes } from './file-digest.ts';
import { checkFileName, fileUrlPath, revisionKey } from './file-name.ts';
import { type ListedFile, type Listing, listFiles, repositoryName } from './listing.ts';
import { temporaryName } from './partial-file.ts';
import type { PullResult } from './pull-options.ts';
import { type HubReference, isCommit } from './reference.ts';
import type { PullSettings } from './settings.ts';
import { INDEX_FILE, indexedShards, wantedFiles } from './wanted-files.ts';

/** File name → size and digest of every file of one finished pull. */
type Manifest = Readonly<Record<string, FileDigest>>;

/**
 * Brings the wanted files of a hub repository into the cache. Branches and tags are looked up on the hub each time; a commit
 * that is complete in the cache needs no network.
 * @throws QuaverError `hub-offline` where the network is forbidden and the cache is not enough, and those of `listFiles`,
 * `downloadFile` and `wantedFiles`
 */
export async function pullSnapshot(hub: HubReference, settings: PullSettings): Promise<PullResult> {
  if (isCommit(hub.revision) || settings.offline) {
    const cached = await cachedSnapshot(hub, settings);
    if (cached) return cached;
  }
  if (settings.offline) {
    throw new QuaverError(
      'hub-offline',
      `${repositoryName(hub)}@${hub.revision} is not in the cache, and HF_HUB_OFFLINE forbids the network`,
      {
        hint: `Unset HF_HUB_OFFLINE, or pull it where there is a network and copy ${settings.cache}.`,
      },
    );
  }
  let listing: Listing;
  try {
    listing = await listFiles(hub, settings);
  } catch (error) {
    const cached = isOutOfReach(error) ? await cachedSnapshot(hub, settings) : undefined;
    if (cached === undefined) throw error;
    settings.report({ phase: 'fallback', reason: (error as Error).message, source: `the cached ${cached.path}` });
    return cached;
  }
  return await completeSnapshot(hub, listing, settings);
}

const OUT_OF_REACH = new Set(['hub-unreachable', 'hub-unavailable', 'hub-offline', 'hub-bad-listing', 'hub-gated']);

/** Errors that say that the hub itself, not the model, is what is missing (proxies answer 403 or a page of their own). */
export const isOutOfReach = (error: unknown): error is QuaverError =>
  error instanceof QuaverError && OUT_OF_REACH.has(error.code);

/** The pull that the cache holds for this revision, verified byte by byte; undefined when anything is missing. */
export async function cachedSnapshot(hub: HubReference, settings: PullSettings): Promise<PullResult | undefined> {
  const place = places(hub, settings);
  const snapshot = isCommit(hub.revision) ? hub.revision : (await readOptional(place.ref))?.trim();
  if (!snapshot || !isCommit(snapshot)) return undefined;
  const manifest = await readManifest(place.manifest(snapshot));
  if (manifest === undefined || Object.keys(manifest).length === 0) return undefined;
  for (const [name, expected] of Object.entries(manifest)) {
    const file = path.join(place.folder(snapshot), ...name.split('/'));
    if ((await fileBytes(file)) !== expected.bytes) return undefined;
    settings.report({ phase: 'verify', file: name });
    if ((await digestFile(file, settings.signal))?.sha256 !== expected.sha256) return undefined;
  }
  return summarize(place.folder(snapshot), manifest, settings, true);
}

async function completeSnapshot(hub: HubReference, listing: Listing, settings: PullSettings): Promise<PullResult> {
  const place = places(hub, settings);
  const folder = place.folder(listing.snapshot);
  const known = (await readManifest(place.manifest(listing.snapshot))) ?? {};
  const manifest: Record<string, FileDigest> = {};
  let downloads = 0;
  const bring = async (file: ListedFile) => {
    const final = path.join(folder, ...file.name.split('/'));
    const kept = await keptFile(file, final, known[file.name], settings);
    const url = `${settings.endpoint}/${repositoryName(hub)}/resolve/${revisionKey(listing.revision)}/${fileUrlPath(file.name)}`;
    if (kept === undefined) downloads++;
    manifest[file.name] = kept ?? (await downloadFile(file, url, final, settings));
  };
  const wanted = wantedFiles(listing, repositoryName(hub), settings.gguf);
  for (const file of wanted) await bring(file);
  if (wanted.some((file) => file.name === INDEX_FILE)) {
    for (const shard of await indexedShards(path.join(folder, INDEX_FILE), listing, repositoryName(hub)))
      await bring(shard);
  }
  await writeWhole(place.manifest(listing.snapshot), `${JSON.stringify(manifest, null, 1)}\n`);
  await writeWhole(place.ref, `${listing.snapshot}\n`);
  return summarize(folder, manifest, settings, downloads === 0);
}

/** The digest of a file that is already there and is the one that the hub lists, or that an earlier pull recorded. */
async function keptFile(
  file: ListedFile,
  final: string,
  recorded: FileDigest | undefined,
  settings: PullSettings,
): Promise<FileDigest | undefined> {
  const expected = file.sha256 ?? recorded?.sha256;
  const found = await fileBytes(final);
  if (expected === undefined || found === undefined || (file.bytes !== undefined && found !== file.bytes))
    return undefined;
  settings.report({ phase: 'verify', file: file.name });
  const digest = await digestFile(final, settings.signal);
  return digest?.sha256 === expected ? digest : undefined;
}

/** Of one file its own digest; of several the digest of their `sha256sum` lines, sorted by name. */
function summarize(folder: string, manifest: Manifest, settings: PullSettings, cached: boolean): PullResult {
  const bytes = Object.values(manifest).reduce((sum, file) => sum + file.bytes, 0);
  const single = settings.gguf === undefined ? undefined : manifest[settings.gguf];
  if (single) return { path: path.join(folder, ...settings.gguf!.split('/')), sha256: single.sha256, bytes, cached };
  const names = Object.keys(manifest).sort();
  const lines = names.map((name) => `${manifest[name]!.sha256}  ${name}\n`).join('');
  return { path: folder, sha256: createHash('sha256').update(lines).digest('hex'), bytes, cached };
}

function places(hub: HubReference, settings: PullSettings) {
  const root = path.join(settings.cache, 'hub', `${hub.organization}--${hub.model}`);
  const set = settings.gguf === undefined ? 'checkpoint' : revisionKey(settings.gguf);
  return {
    ref: path.join(root, 'refs', revisionKey(hub.revision)),
    folder: (snapshot: string) => path.join(root, 'snapshots', snapshot),
    manifest: (snapshot: string) => path.join(root, 'manifests', `${snapshot}.${set}.json`),
  };
}

/** A manifest that something else has damaged counts as none: its files are then checked against the hub again. */
async function readManifest(file: string): Promise<Manifest | undefined> {
  const text = await readOptional(file);
  if (text === undefined) return undefined;
  try {
    const manifest: Record<string, FileDigest> = JSON.parse(text);
    for (const [name, { bytes, sha256 }] of Object.entries(manifest)) {
      checkFileName(name, file);
      if (!Number.isSafeInteger(bytes) || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
    }
    return manifest;
  } catch {
    return undefined;
  }
}

async function readOptional(file: string): Promise<string | undefined> {
  return await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

async function writeWhole(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = temporaryName(file);
  try {
    await writeFile(temporary, text);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
