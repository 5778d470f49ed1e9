"""Writes the tokenizer goldens of packages/formats:

    python tools/goldens/formats_tokenizers.py packages/formats/test/data SmolLM2-135M-Instruct.Q4_1.gguf

Needs gguf==0.19.0, tokenizers==0.23.3, sentencepiece==0.2.x. Token ids come from the tokenizers package (byte-level BPE,
with the pre-tokenizers as the models' own tokenizer.json files spell them) and from SentencePiece itself.
"""

import gzip
import json
import pathlib
import sys
import tempfile

import sentencepiece
from gguf import GGUFReader, GGUFWriter
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

out = pathlib.Path(sys.argv[1])
real = GGUFReader(sys.argv[2])

TEXTS = [
    "", " ", "a", "Hello, world!", "hello  world   three    spaces", "  leading and trailing  ", "tabs\tand\nnewlines\r\n\r\nend\n\n",
    "The quick brown fox jumps over the lazy dog.", "I'm you're he'll we've they'd it's 'tis DON'T I'M",
    "0 12 123 1234 12345 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥ १२३", "naïve façade über Straße ΣΑΣ Ёлка", "日本語のテキスト。中文字符，한국어",
    "🎼🎵 emoji 👩‍👩‍👧‍👦 flags 🇺🇳 skin 👍🏽", "e\u0301 combining, é composed, \u1e9b\u0323", "nbsp\u00a0here\u2003em\u200bzero\ufeffbom\u0085nel",
    "def f(x):\n    if x > 0:\n        return [x ** 2 for _ in range(10)]\n", "{\"key\": [1, 2.5, null], \"ключ\": \"значение\"}",
    "https://example.com/path?query=1&b=%20#frag", "$100 + €5 <= ~3^2 | a=b", "!!! ??? ... --- ___ ***", "CamelCase snake_case kebab-case SCREAMING",
    "\u0001\u0004\u001f\u007f control", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \U0010ffff", "a" * 40, " " * 17 + "x", "\n" * 5, "word" + "\n " * 4, "' 's 't", "ſ 'ſ K",
]
SPECIAL = ["<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>", "a<|im_end|> b", "<|im_start |> <repo_name>x"]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


# pre -> (normalizer, pre-tokenizer, ignore_merges)
PRE = {
    "smollm": (None, [pre_tokenizers.Digits(individual_digits=True), byte_level(True)], False),
    "gpt-2": (None, [byte_level(True)], False),
    "llama-bpe": (None, [split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL), byte_level(False)], True),
    "qwen2": (normalizers.NFC(), [split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL), byte_level(False)], False),
    # The rule of GGUF readers for files that name none: punctuation, GPT-2, digit runs, then threes of them.
    "default": (
        None,
        [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split("[0-9]{3}"), byte_level(False)],
        False,
    ),
}


def bpe(tokens, merges, specials, pre):
    normalizer, pre_tokenizer, ignore_merges = PRE[pre]
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, pairs, ignore_merges=ignore_merges))
    if normalizer:
        made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Sequence(pre_tokenizer)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, normalized=False) for t in specials])
    return made


def cases(tokenizer, texts):
    rows = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return rows


def write_vocabulary(path, model, pre, tokens, types, **more):
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for name, value in more.items():
        getattr(writer, "add_" + name)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


# 1. The real SmolLM2 vocabulary, without any weights.
field = lambda key: real.fields["tokenizer.ggml." + key].contents()
tokens, merges, types = field("tokens"), field("merges"), field("token_type")
with tempfile.TemporaryDirectory() as temporary:
    path = pathlib.Path(temporary) / "vocabulary.gguf"
    write_vocabulary(
        path, "gpt2", "smollm", tokens, types, token_merges=merges, bos_token_id=field("bos_token_id"),
        eos_token_id=field("eos_token_id"), unk_token_id=field("unknown_token_id"), pad_token_id=field("padding_token_id"),
        add_bos_token=False, add_space_prefix=False, context_length=8192,
        chat_template=real.fields["tokenizer.chat_template"].contents(),
    )
    (out / "smollm2-vocabulary.gguf.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
special = [t for t, kind in zip(tokens, types) if kind == 3]
golden = {"smollm2": cases(bpe(tokens, merges, special, "smollm"), TEXTS + SPECIAL)}

# 2. A byte-level BPE of 600 tokens trained on the texts above: every pre-tokenizer rule on one vocabulary.
trained = Tokenizer(models.BPE())
trained.pre_tokenizer = byte_level(False)
trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
trained.train_from_iterator(TEXTS * 3, trainer)
model = json.loads(trained.to_str())["model"]
tokens = sorted(model["vocab"], key=model["vocab"].get)
merges = [" ".join(pair) for pair in model["merges"]]
write_vocabulary(
    out / "bpe-600.gguf", "gpt2", None, tokens, [3] + [1] * (len(tokens) - 1), token_merges=merges, bos_token_id=0, eos_token_id=0,
)
for pre in PRE:
    golden["bpe-600 " + pre] = cases(bpe(tokens, merges, ["<|end|>"], pre), TEXTS + ["<|end|>a 12<|end|>"])

# 3. SentencePiece BPE with byte fallback, trained on the same texts.
with tempfile.TemporaryDirectory() as temporary:
    prefix = temporary + "/spm"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([t for t in TEXTS if t.strip()] * 3), model_prefix=prefix, model_type="bpe", vocab_size=560,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, character_coverage=0.98, minloglevel=2,
    )
    spm = sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")
count = spm.vocab_size()
kinds = [2 if spm.is_unknown(i) else 3 if spm.is_control(i) else 6 if spm.is_byte(i) else 5 if spm.is_unused(i) else 1 for i in range(count)]
write_vocabulary(
    out / "spm-560.gguf", "llama", None, [spm.id_to_piece(i) for i in range(count)], kinds,
    token_scores=[spm.get_score(i) for i in range(count)], bos_token_id=spm.bos_id(), eos_token_id=spm.eos_id(), unk_token_id=spm.unk_id(),
)
golden["spm-560"] = [{"text": t, "ids": spm.encode(t), "decoded": spm.decode(spm.encode(t))} for t in TEXTS]

(out / "token-ids.json").write_text(json.dumps(golden) + "\n")
