import { QuaverError } from '@quaver/numerics';

/**
 * Checks that a file name of a repository stays inside the folder it is joined to, on every platform: relative, `/`
 * between non-empty segments, none of them `.` or `..`, no backslash, colon or control character.
 * @returns the name
 * @throws QuaverError `hub-unsafe-file-name`
 */
export function checkFileName(name: string, origin: string): string {
  const segments = name.split('/');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  const unsafe = /[\u0000-\u001f\u007f\\:]/.test(name);
  if (unsafe || segments.some((segment) => segment === '' || segment === '.' || segment === '..')) {
    throw new QuaverError(
      'hub-unsafe-file-name',
      `${origin}: the file name ${JSON.stringify(name)} leaves its folder`,
      {
        hint: 'Nothing was written. Do not trust this repository or mirror.',
        where: { file: name },
      },
    );
  }
  return name;
}

/** One folder name for any revision: `refs/pr/1` becomes `refs%2Fpr%2F1`. */
export const revisionKey = (revision: string): string => encodeURIComponent(revision);

/** Percent-encodes each segment of a checked file name. */
export const fileUrlPath = (name: string): string => name.split('/').map(encodeURIComponent).join('/');
