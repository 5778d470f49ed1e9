/** What a hand-made GGUF file holds; counts may lie. */
export interface GgufParts {
  readonly version?: number;
  readonly tensorCount?: bigint;
  readonly pairCount?: bigint;
  readonly pairs?: readonly {
    readonly key: string;
    readonly type: number;
    readonly value: number | string | { readonly itemType: number; readonly count: bigint };
  }[];
  readonly tensors?: readonly {
    readonly name: string;
    readonly shape: readonly bigint[];
    readonly type: number;
    readonly offset: bigint;
  }[];
  /** Bytes after the header; default 128. */
  readonly padding?: number;
}

/** Writes `parts` as they are, valid or not; numbers as one byte, whatever their type says. */
export function ggufFile({
  version = 3,
  tensorCount,
  pairCount,
  pairs = [],
  tensors = [],
  padding = 128,
}: GgufParts): Uint8Array {
  const pieces: Uint8Array[] = [];
  const number = (bytes: 1 | 4 | 8, value: bigint) => {
    pieces.push(new Uint8Array(new BigUint64Array([value]).buffer, 0, bytes));
  };
  const string = (text: string) => {
    const bytes = new TextEncoder().encode(text);
    number(8, BigInt(bytes.length));
    pieces.push(bytes);
  };
  number(4, 0x46554747n);
  number(4, BigInt(version));
  number(8, tensorCount ?? BigInt(tensors.length));
  number(8, pairCount ?? BigInt(pairs.length));
  for (const { key, type, value } of pairs) {
    string(key);
    number(4, BigInt(type));
    if (typeof value === 'string') string(value);
    else if (typeof value === 'number') number(1, BigInt(value));
    else {
      number(4, BigInt(value.itemType));
      number(8, value.count);
    }
  }
  for (const { name, shape, type, offset } of tensors) {
    string(name);
    number(4, BigInt(shape.length));
    for (const dimension of shape) number(8, dimension);
    number(4, BigInt(type));
    number(8, offset);
  }
  pieces.push(new Uint8Array(padding));
  return new Uint8Array(Buffer.concat(pieces));
}
