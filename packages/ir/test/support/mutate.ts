/** Damage for fuzzing: the same seed gives the same damage. */

/** Mulberry32: numbers in [0, 1). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Pick = (limit: number) => number;

const nastyWords = [
  0, 1, 2, 3, 4, 8, 12, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff, 0x1000_0000, 0x4000_0000,
];
const nastyHalves = [0, 1, 2, 3, 4, 6, 8, 0x7fff, 0x8000, 0xfffe, 0xffff];

type Damage = (bytes: Uint8Array, view: DataView, header: number, pick: Pick) => Uint8Array;

/** A position that is mostly in the header, mostly aligned. */
function place(bytes: Uint8Array, header: number, size: number, pick: Pick): number {
  const end = (pick(10) === 0 ? bytes.byteLength : header) - size;
  const position = pick(Math.max(1, end));
  return pick(4) === 0 ? position : position - (position % size);
}

const damages: readonly Damage[] = [
  (bytes, _, header, pick) => {
    bytes[place(bytes, header, 1, pick)]! ^= 1 << pick(8);
    return bytes;
  },
  (bytes, _, header, pick) => {
    bytes[place(bytes, header, 1, pick)] = pick(256);
    return bytes;
  },
  (bytes, view, header, pick) => {
    view.setUint32(place(bytes, header, 4, pick), nastyWords[pick(nastyWords.length)]!, true);
    return bytes;
  },
  (bytes, view, header, pick) => {
    view.setUint16(place(bytes, header, 2, pick), nastyHalves[pick(nastyHalves.length)]!, true);
    return bytes;
  },
  (bytes, view, header, pick) => {
    const position = place(bytes, header, 4, pick);
    view.setUint32(position, view.getUint32(position, true) + pick(33) - 16, true);
    return bytes;
  },
  // A byte that is not part of a large number, such as a letter, an index or a size, becomes its neighbour.
  ...Array.from(
    { length: 6 },
    (): Damage => (bytes, _, header, pick) => {
      let position = place(bytes, header, 1, pick);
      while (position > 12 && (bytes[position] === 0 || bytes[position]! > 127)) position--;
      bytes[position]! += pick(5) - 2;
      return bytes;
    },
  ),
  // A reference to some other place: shared children, cycles, tables read as strings.
  (bytes, view, header, pick) => {
    const position = place(bytes, header, 4, pick);
    view.setUint32(position, place(bytes, header, 4, pick) - position, true);
    return bytes;
  },
  (bytes, view, header, pick) => {
    const a = place(bytes, header, 4, pick);
    const b = place(bytes, header, 4, pick);
    const word = view.getUint32(a, true);
    view.setUint32(a, view.getUint32(b, true), true);
    view.setUint32(b, word, true);
    return bytes;
  },
  (bytes, _, header, pick) => {
    const from = place(bytes, header, 4, pick);
    bytes.copyWithin(place(bytes, header, 4, pick), from, from + pick(64));
    return bytes;
  },
  (bytes, view, _, pick) => {
    const end = pick(bytes.byteLength);
    if (end >= 4 && pick(2) === 0) view.setUint32(0, end - 4, true);
    return bytes.slice(0, end);
  },
  (bytes, _, header, pick) => {
    const from = place(bytes, header, 4, pick);
    const rest = bytes.subarray(from + pick(3) * 4);
    const shifted = new Uint8Array(from + pick(3) * 4 + rest.byteLength);
    shifted.set(bytes.subarray(0, from));
    shifted.set(rest, shifted.byteLength - rest.byteLength);
    return shifted;
  },
];

/** Mostly one: what is damaged in several places seldom gets past the first check. */
function roundsOf(pick: Pick): number {
  return pick(3) === 0 ? 2 + pick(3) : 1;
}

/** A damaged copy of a file whose header (length, FlatBuffer) has `header` bytes. */
export function damageBytes(file: Uint8Array, header: number, random: () => number): Uint8Array {
  const pick: Pick = (limit) => Math.floor(random() * limit);
  let bytes: Uint8Array = file.slice();
  for (let rounds = roundsOf(pick); rounds > 0 && bytes.byteLength >= 16; rounds--) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    bytes = damages[pick(damages.length)]!(bytes, view, Math.min(header, bytes.byteLength), pick);
  }
  return bytes;
}

const nastyTexts = [
  '-1',
  '0',
  '9007199254740993',
  '1e999',
  'NaN',
  '-Infinity',
  'ceildiv(B,0)',
  'B*B*B',
  '"',
  '\\',
  '%',
  '_',
  '[',
  ']',
  '{',
  '}',
  '(',
  ')',
  ',',
  ':',
  '//',
  '\n',
  '\u0000',
  '\ud800',
  '🎵',
  '__proto__',
  'constructor',
];

/** Words that may stand for each other: values, strings, names, numbers. */
const wordClasses = [/%[\w.]+/g, /"[^"\n]*"/g, /\b[A-Za-z_]\w*/g, /\b\d[\d.e+-]*/g, /[^\w\s]/g];

type TextDamage = (text: string, pick: Pick) => string;

/** Start and end of a word of a class, near a random place. */
function wordOf(text: string, pattern: RegExp, pick: Pick): readonly [number, number] {
  pattern.lastIndex = pick(text.length);
  const found = pattern.exec(text);
  return found ? [found.index, found.index + found[0].length] : [0, 0];
}

function replaced(text: string, from: number, to: number, by: string): string {
  return text.slice(0, from) + by + text.slice(to);
}

const textDamages: readonly TextDamage[] = [
  ...wordClasses.map(
    (pattern): TextDamage =>
      (text, pick) => {
        const [from, to] = wordOf(text, pattern, pick);
        return replaced(text, from, to, text.slice(...wordOf(text, pattern, pick)));
      },
  ),
  ...wordClasses.map(
    (pattern): TextDamage =>
      (text, pick) => {
        const [from, to] = wordOf(text, pattern, pick);
        return replaced(text, from, to, nastyTexts[pick(nastyTexts.length)]!);
      },
  ),
  (text, pick) => replaced(text, ...wordOf(text, wordClasses[pick(wordClasses.length)]!, pick), ''),
  (text, pick) => replaced(text, ...wordOf(text, wordClasses[3]!, pick), String(pick(10))),
  (text, pick) => {
    const from = pick(text.length);
    return replaced(text, from, from + pick(40), '');
  },
  (text, pick) => {
    const [at, from] = [pick(text.length), pick(text.length)];
    return replaced(text, at, at, text.slice(from, from + pick(80)));
  },
  (text, pick) => {
    const at = pick(text.length);
    return replaced(text, at, at + 1, String.fromCharCode(pick(128)));
  },
  (text, pick) => {
    const lines = text.split('\n');
    const [a, b] = [pick(lines.length), pick(lines.length)];
    [lines[a], lines[b]] = [lines[b]!, lines[a]!];
    return lines.join('\n');
  },
];

/** A damaged copy of a text: characters, words and lines are lost, repeated, exchanged and replaced. */
export function damageText(text: string, random: () => number): string {
  const pick: Pick = (limit) => Math.floor(random() * limit);
  let result = text;
  for (let rounds = roundsOf(pick); rounds > 0; rounds--) result = textDamages[pick(textDamages.length)]!(result, pick);
  return result;
}
