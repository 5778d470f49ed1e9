/** @file Examples in a given order, tokenized some time before they are asked for. */
import { throwIfAborted, untilAborted } from './abort.ts';
import type { TokenizedExample } from './example.ts';
import type { ExampleSource } from './example-source.ts';

/** An example of an epoch, or where the epoch ends (no `example`). */
export interface Position {
  readonly epoch: number;
  /** Place in the order of the epoch. */
  readonly index: number;
  readonly example?: number;
}

export interface ReadPosition extends Position {
  readonly tokenized?: TokenizedExample;
}

/** What is asked of the source at once. */
const groupExamples = 64;
const groupBytes = 1 << 18;

interface Group {
  readonly positions: readonly Position[];
  readonly read: Promise<TokenizedExample[]>;
}

/**
 * Holds at most `source.ahead` groups beside the one in use, each of 64 examples or 256 KiB, or one example that is larger.
 * @throws QuaverError `aborted`, and what the source throws
 */
export async function* readAhead(
  source: ExampleSource,
  positions: AsyncIterator<Position>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadPosition, void, undefined> {
  const waiting: Group[] = [];
  let ended = false;
  const request = async () => {
    const group: Position[] = [];
    const examples: number[] = [];
    for (let bytes = 0; examples.length < groupExamples && bytes < groupBytes; ) {
      const { value, done } = await positions.next();
      if (done) {
        ended = true;
        break;
      }
      group.push(value);
      if (value.example === undefined) break;
      examples.push(value.example);
      bytes += source.bytes(value.example);
    }
    const read = examples.length > 0 ? source.read(examples) : Promise.resolve([]);
    // It is thrown where the group is used; nobody may come for it after an abort.
    read.catch(() => undefined);
    waiting.push({ positions: group, read });
  };
  for (;;) {
    throwIfAborted(signal);
    while (!ended && waiting.length <= source.ahead) await request();
    const group = waiting.shift();
    if (!group) return;
    const tokenized = (await untilAborted(group.read, signal)).values();
    for (const position of group.positions) {
      throwIfAborted(signal);
      yield position.example === undefined ? position : { ...position, tokenized: tokenized.next().value! };
    }
  }
}
