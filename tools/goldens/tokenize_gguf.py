"""Token ids and chat text for the golden prompts, by libraries that Quaver does not use itself.

The vocabulary and the merges come out of the GGUF metadata and run through the Rust `tokenizers` package; the chat
template of the metadata runs through Jinja2. Writes a JSON list of {name, text, tokens, ...}.

    python tokenize_gguf.py MODEL.gguf prompts.json [--count FILE]
"""

import argparse
import json
import pathlib

import jinja2
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# gguf token types: 3 is a control token, 4 is user-defined; both are matched before the byte-pair encoding.
SPECIAL_TYPES = (3, 4)

PROMPTS = [
    {"name": "chat", "messages": [{"role": "user", "content": "What is the capital of France, and which river runs through it?"}]},
    {
        "name": "prose",
        "text": "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in "
        "want of a wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood,",
    },
    {
        "name": "code",
        "text": "def area(radius):\n    return 3.14159 * radius ** 2\n\nprices = [19.99, 250, 1024, -7]\nprint(sum(prices) / len(prices))  # 321.75 €\n",
    },
]


def load_tokenizer(reader):
    """The 'smollm' pre-tokenizer: every digit alone, then the GPT-2 split; byte-level BPE without a leading space."""
    if reader.fields["tokenizer.ggml.pre"].contents() != "smollm":
        raise SystemExit("only the 'smollm' pre-tokenizer is known here")
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in reader.fields["tokenizer.ggml.merges"].contents()]
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types) if kind in SPECIAL_TYPES]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--count", type=pathlib.Path, help="also print how many tokens this text file has")
    arguments = parser.parse_args()

    reader = GGUFReader(arguments.gguf)
    tokenizer = load_tokenizer(reader)
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        reader.fields["tokenizer.chat_template"].contents()
    )
    prompts = []
    for prompt in PROMPTS:
        if "messages" in prompt:
            prompt = {**prompt, "text": template.render(messages=prompt["messages"], add_generation_prompt=True)}
        prompts.append({**prompt, "tokens": tokenizer.encode(prompt["text"], add_special_tokens=False).ids})
        print(f"{prompt['name']}: {len(prompts[-1]['tokens'])} tokens")
    arguments.output.write_text(json.dumps(prompts, indent=1, ensure_ascii=False) + "\n")
    if arguments.count:
        text = arguments.count.read_text()
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
        print(f"{arguments.count.name}: {len(ids)} tokens")


if __name__ == "__main__":
    main()
