import { readFile } from 'node:fs/promises';
import { QuaverError } from '@quaver/numerics';
import { checkFileName } from './file-name.ts';
import type { ListedFile, Listing } from './listing.ts';

export const INDEX_FILE = 'model.safetensors.index.json';

const WEIGHTS_FILE = 'model.safetensors';

const SIDE_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
];

/**
 * The files of a repository that Quaver reads: one GGUF where asked for, else configuration, tokenizer and weights
 * (`model.safetensors`, or the index whose shards are known once it is read).
 * @throws QuaverError `hub-file-missing`, `hub-no-safetensors`, `hub-unsafe-file-name`
 */
export function wantedFiles(listing: Listing, repository: string, gguf: string | undefined): ListedFile[] {
  if (gguf !== undefined) {
    const file = listing.files.get(checkFileName(gguf, repository));
    if (file) return [file];
    throw new QuaverError('hub-file-missing', `${repository} has no file ${JSON.stringify(gguf)}`, {
      hint: `GGUF files there: ${namesLike(listing, '.gguf')}.`,
      where: { file: gguf },
    });
  }
  if (!listing.files.has('config.json')) {
    throw new QuaverError('hub-file-missing', `${repository} has no config.json`, {
      hint: `It is not a Hugging Face checkpoint. GGUF files there: ${namesLike(listing, '.gguf')}.`,
      where: { file: 'config.json' },
    });
  }
  const weights = listing.files.get(WEIGHTS_FILE) ?? listing.files.get(INDEX_FILE);
  if (weights === undefined) {
    throw new QuaverError('hub-no-safetensors', `${repository} has neither ${WEIGHTS_FILE} nor ${INDEX_FILE}`, {
      hint: `Only safetensors and GGUF weights are read. GGUF files there: ${namesLike(listing, '.gguf')}.`,
    });
  }
  return [...SIDE_FILES.flatMap((name) => listing.files.get(name) ?? []), weights];
}

/** The shards that a downloaded index names, each of which the repository must list. */
export async function indexedShards(indexPath: string, listing: Listing, repository: string): Promise<ListedFile[]> {
  let shards: unknown[];
  try {
    shards = Object.values(JSON.parse(await readFile(indexPath, 'utf8')).weight_map);
  } catch (cause) {
    throw badIndex(repository, 'has no readable "weight_map"', cause);
  }
  return [...new Set(shards)].map((shard) => {
    if (typeof shard !== 'string') throw badIndex(repository, `names ${JSON.stringify(shard)} as a file`);
    const file = listing.files.get(checkFileName(shard, `${repository}/${INDEX_FILE}`));
    if (file === undefined)
      throw badIndex(repository, `names ${JSON.stringify(shard)}, which the repository does not have`);
    return file;
  });
}

const badIndex = (repository: string, problem: string, cause?: unknown) =>
  new QuaverError('hub-bad-index', `${repository}: ${INDEX_FILE} ${problem}`, { where: { file: INDEX_FILE }, cause });

function namesLike(listing: Listing, suffix: string): string {
  const names = [...listing.files.keys()].filter((name) => name.endsWith(suffix));
  return names.length === 0 ? 'none' : names.slice(0, 12).join(', ');
}
