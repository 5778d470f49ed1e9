/**
 * @file Examples as tokens with a loss mask. Prompts become the tokens that generation makes of them: an example is
 * tokenized as a whole where its pieces begin and end between tokens, and piece by piece where a token would straddle.
 */
import type { Tokenizer } from '@quaver/generate';
import { chatTurns, type Span } from './chat-turns.ts';
import type { Example, Place, TextPart, TokenizedExample } from './example.ts';

interface Encoded {
  readonly tokens: number[];
  readonly loss: number[];
}

/**
 * The token that ends a text: the tokenizer's `eos_token`, or undefined where it has none.
 */
export function endTokenOf(tokenizer: Tokenizer): number | undefined {
  const value = tokenizer.files.config.eos_token;
  const content =
    typeof value === 'string' ? value : (value as { readonly content?: string } | undefined | null)?.content;
  if (content === undefined) return undefined;
  const ids = tokenizer.encode(content, { special: false });
  return ids.length === 1 ? ids[0] : undefined;
}

/** Turns examples into tokens; the same ones give the same tokens, whatever came before. */
export class ExampleEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #endToken: number | undefined;
  readonly #addedTokens: ReadonlySet<number>;
  /** What the tokenizer puts before every text, such as BOS. */
  readonly #begin: readonly number[];

  /** @param endToken follows documents and completions; undefined: none does */
  constructor(tokenizer: Tokenizer, endToken: number | undefined) {
    this.#tokenizer = tokenizer;
    this.#endToken = endToken;
    const added = tokenizer.files.tokenizer.added_tokens as readonly { readonly id: number }[] | undefined;
    this.#addedTokens = new Set((added ?? []).map(({ id }) => id));
    this.#begin = beginning(tokenizer);
  }

  /**
   * - text: [BOS] text [end], all of it predicted but the first token
   * - prompt and completion: [BOS] prompt completion [end], the loss on completion and end
   * - chat: what the template renders, the loss on the assistant's answers up to the token that ends the turn
   * @throws QuaverError `data-no-answer`, `chat-template-…`
   */
  encode(example: Example | TextPart, place: Place): TokenizedExample {
    if ('text' in example) {
      const { text, begins, ends } = { begins: true, ends: true, ...example };
      return finish(this.#end(this.#encodeSpans([{ text, loss: true }], begins), ends), true);
    }
    if ('completion' in example) {
      const { prompt, completion } = example;
      const spans = [
        { text: prompt, loss: false },
        { text: completion, loss: true },
      ];
      return finish(this.#end(this.#encodeSpans(spans, true), true), false);
    }
    const spans = chatTurns(this.#tokenizer, example.messages, place);
    return finish(this.#endTurns(this.#encodeSpans(spans, false)), false);
  }

  #encodeSpans(spans: readonly Span[], begins: boolean): Encoded {
    const filled = spans.filter(({ text }) => text !== '');
    const tokens = this.#encodeText(filled.map(({ text }) => text).join(''), begins);
    const loss: number[] = [];
    let text = '';
    for (const [index, span] of filled.entries()) {
      text += span.text;
      const last = index + 1 === filled.length;
      const end = last ? tokens.length : prefixLength(this.#encodeText(text, begins), tokens);
      if (end === undefined) {
        const left = this.#encodeSpans(filled.slice(0, index + 1), begins);
        const right = this.#encodeSpans(filled.slice(index + 1), false);
        return { tokens: [...left.tokens, ...right.tokens], loss: [...left.loss, ...right.loss] };
      }
      while (loss.length < end) loss.push(span.loss ? 1 : 0);
    }
    return { tokens, loss };
  }

  #encodeText(text: string, begins: boolean): number[] {
    const plain = this.#tokenizer.encode(text, { special: false });
    return begins ? [...this.#begin, ...plain] : plain;
  }

  #end({ tokens, loss }: Encoded, ends: boolean): Encoded {
    if (!ends || this.#endToken === undefined || tokens.at(-1) === this.#endToken) return { tokens, loss };
    return { tokens: [...tokens, this.#endToken], loss: [...loss, 1] };
  }

  /** Takes the loss from the white space that a template writes after the token that ends a turn. */
  #endTurns({ tokens, loss }: Encoded): Encoded {
    const kept = [...loss];
    for (let end = kept.length; end > 0; end--) {
      if (kept[end - 1] === 0 || kept[end] === 1) continue;
      let last = end;
      while (last > 0 && kept[last - 1] === 1 && !this.#addedTokens.has(tokens[last - 1]!)) last--;
      const found = last > 0 && kept[last - 1] === 1;
      if (found && this.#tokenizer.decode(tokens.slice(last, end)).trim() === '') kept.fill(0, last, end);
    }
    return { tokens, loss: kept };
  }
}

function finish({ tokens, loss }: Encoded, divisible: boolean): TokenizedExample {
  return { tokens: Int32Array.from(tokens), loss: Uint8Array.from(loss), divisible };
}

/** What the tokenizer adds before a text, seen at the first character that it has a token for. */
function beginning(tokenizer: Tokenizer): number[] {
  for (const sample of 'a e 0 . A'.split(' ')) {
    const plain = tokenizer.encode(sample, { special: false });
    const full = tokenizer.encode(sample);
    for (let at = 0; plain.length > 0 && at + plain.length <= full.length; at++) {
      if (plain.every((token, index) => full[at + index] === token)) return full.slice(0, at);
    }
  }
  return [];
}

/** The length of `prefix` if `tokens` begins with it. */
function prefixLength(prefix: readonly number[], tokens: readonly number[]): number | undefined {
  return prefix.every((token, index) => token === tokens[index]) ? prefix.length : undefined;
}
