import { badTokenizer, flag, type GgufVocabulary, type TokenizerParts, tokenTypes } from './vocabulary.ts';

/** U+2581, which stands for a space inside SentencePiece tokens. */
const space = '▁';

/**
 * SentencePiece BPE: the whole text is one pre-token, neighbours merge by the score of what they make, and characters
 * outside the vocabulary fall back to byte tokens.
 */
export function sentencePieceParts(vocabulary: GgufVocabulary): TokenizerParts {
  const { metadata, tokens, types, ids } = vocabulary;
  const prefix = flag(metadata, 'tokenizer.ggml.add_space_prefix', true);
  const unknown = tokens.find((_, id) => types[id] === tokenTypes.unknown);
  const replaceSpaces = { type: 'Replace', pattern: { String: ' ' }, content: space };
  const decoders = [
    { type: 'Replace', pattern: { String: space }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ];
  return {
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: ids,
      merges: mergesFromScores(vocabulary),
    },
    normalizer: {
      type: 'Sequence',
      normalizers: [...(prefix ? [{ type: 'Prepend', prepend: space }] : []), replaceSpaces],
    },
    preTokenizer: null,
    decoder: { type: 'Sequence', decoders },
    addBosByDefault: true,
  };
}

/**
 * SentencePiece keeps no merges: any two neighbours whose concatenation is a token may merge, highest score first. The
 * equivalent list has every split of every normal token into two tokens, by descending score of the whole; splits of
 * one token have no order among themselves there, here the one with the likelier (earlier) halves comes first.
 */
function mergesFromScores({ metadata, tokens, types, ids }: GgufVocabulary): [string, string][] {
  const scores = metadata.get('tokenizer.ggml.scores');
  if (!(scores instanceof Float32Array) || scores.length !== tokens.length) {
    throw badTokenizer(`"tokenizer.ggml.scores" must hold ${tokens.length} numbers, one per token`);
  }
  const mergeable = (token: string) => token in ids && types[ids[token]!] === tokenTypes.normal;
  const merges: { readonly score: number; readonly pair: [string, string] }[] = [];
  for (const [id, token] of tokens.entries()) {
    if (types[id] !== tokenTypes.normal) continue;
    const splits: [string, string][] = [];
    for (let at = 1; at < token.length; at++) {
      const pair: [string, string] = [token.slice(0, at), token.slice(at)];
      if (mergeable(pair[0]) && mergeable(pair[1])) splits.push(pair);
    }
    splits.sort((a, b) => ids[a[0]]! - ids[b[0]]! || ids[a[1]]! - ids[b[1]]!);
    for (const pair of splits) merges.push({ score: scores[id]!, pair });
  }
  return merges.sort((a, b) => b.score - a.score).map(({ pair }) => pair);
}
