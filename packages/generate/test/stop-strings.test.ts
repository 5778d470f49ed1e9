import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StopStrings } from '../src/index.ts';

/** All that is shown of a text given in pieces. */
function shown(
  pieces: readonly string[],
  stops: readonly string[],
): { readonly text: string; readonly stopped: boolean } {
  const scanner = new StopStrings(stops);
  let text = '';
  for (const piece of pieces) {
    const scan = scanner.push(piece);
    text += scan.text;
    if (scan.stopped) return { text, stopped: true };
  }
  return { text: text + scanner.flush(), stopped: false };
}

/** By definition: read character by character; at the first end of a stop string, cut before the longest that ends there. */
function cut(text: string, stops: readonly string[]): { readonly text: string; readonly stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const ending = stops.filter((stop) => stop !== '' && text.slice(0, end).endsWith(stop));
    const longest = Math.max(0, ...ending.map((stop) => stop.length));
    if (longest > 0) return { text: text.slice(0, end - longest), stopped: true };
  }
  return { text, stopped: false };
}

const letters = fc.constantFrom('a', 'b', 'c');
const word = (size: number) => fc.array(letters, { maxLength: size }).map((parts) => parts.join(''));

test('the text is cut at the first stop string, however it comes in pieces', () => {
  fc.assert(
    fc.property(fc.array(word(5), { maxLength: 12 }), fc.array(word(5), { maxLength: 4 }), (pieces, stops) => {
      expect(shown(pieces, stops)).toEqual(cut(pieces.join(''), stops));
    }),
    { numRuns: 3000 },
  );
});

test('nothing is shown that has to be taken back, and nothing is held back without need', () => {
  fc.assert(
    fc.property(fc.array(word(5), { maxLength: 12 }), fc.array(word(5), { maxLength: 4 }), (pieces, stops) => {
      const scanner = new StopStrings(stops);
      let seen = '';
      let given = '';
      for (const piece of pieces) {
        seen += piece;
        const scan = scanner.push(piece);
        given += scan.text;
        if (scan.stopped) break;
        const held = seen.slice(given.length);
        expect(seen.startsWith(given)).toBe(true);
        expect(held === '' || stops.some((stop) => stop.startsWith(held) && stop !== held)).toBe(true);
      }
    }),
    { numRuns: 1000 },
  );
});

test('of stop strings that overlap, the one that ends first counts', () => {
  expect(shown(['abcdef'], ['abcdef', 'cd'])).toEqual({ text: 'ab', stopped: true });
  expect(shown([...'abcdef'], ['abcdef', 'cd'])).toEqual({ text: 'ab', stopped: true });
  expect(shown(['abcd'], ['cd', 'bcd'])).toEqual({ text: 'a', stopped: true });
});

test('characters outside of the basic plane are not split', () => {
  const scanner = new StopStrings(['😀!']);
  expect(scanner.push('😁😀')).toEqual({ text: '😁', stopped: false });
  expect(scanner.push('?')).toEqual({ text: '😀?', stopped: false });
});
