import type { Split } from './problem.ts';

/** Out of 100 problems, those of the validation and of the held-out split; the rest is for training. */
const shares = { validation: 5, heldOut: 5 };

/** FNV-1a over UTF-8, and the final mix of MurmurHash3 so that all bits count: 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** The split of a problem; it depends on nothing but the problem, so no seed mixes the splits. */
export function splitOf(key: string): Split {
  const place = hash(key) % 100;
  if (place < shares.validation) return 'validation';
  return place < shares.validation + shares.heldOut ? 'held-out' : 'train';
}
