import { QuaverError } from '@quaver/numerics';

/**
 * SHA-256 of a text as UTF-8, in hexadecimal.
 * @throws QuaverError `crypto-unavailable` in pages that came without TLS
 */
export async function sha256(text: string): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    throw new QuaverError('crypto-unavailable', 'there is no WebCrypto here to take the digest of the data with', {
      hint: 'Browsers offer it to pages from https: and localhost only.',
    });
  }
  const digest = await subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
