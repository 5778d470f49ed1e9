"""Makes tokenizer.json (97 tokens, byte-level BPE), and what tokenizers and Jinja2 make of texts and conversations.

    python packages/generate/test/data/make_fixtures.py packages/generate/test/data
"""
import json
import random
import sys
from pathlib import Path

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

SPECIAL = ["<|pad|>", "<|begin|>", "<|end|>"]


def byte_characters():
    """GPT-2's printable stand-in for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


CHARACTER = byte_characters()


def written(data: bytes) -> str:
    return "".join(CHARACTER[byte] for byte in data)


SINGLE = [written(bytes([byte])) for byte in b"abcdefghijklmnopqrstuvwxyz \n0123456789.,!?:'"] + [
    CHARACTER[byte] for byte in (0xC3, 0xA9, 0xA8, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0x81)
]

MERGES = [
    (b"h", b"e"), (b"l", b"l"), (b"he", b"ll"), (b"hell", b"o"), (b" ", b"w"), (b"o", b"r"), (b" w", b"or"),
    (b"l", b"d"), (b" wor", b"ld"), (b"\xc3", b"\xa9"), (b"t", b"he"), (b" ", b"the"), (b"i", b"n"), (b"a", b"n"),
    (b"o", b"n"), (b"e", b"r"), (b"r", b"e"), (b"e", b"d"), (b"o", b"u"), (b" ", b"a"), (b"s", b"t"), (b"in", b"g"),
    (b"e", b"s"), (b"a", b"t"), (b"e", b"n"), (b"i", b"s"), (b"i", b"t"), (b"a", b"l"), (b"a", b"r"), (b"l", b"e"),
    (b"s", b"e"), (b"v", b"e"), (b"\xe2", b"\x82"), (b"\xf0", b"\x9f"), (b"n", b"d"), (b" ", b"o"), (b"o", b"f"),
    (b"!", b"!"), (b"\xac", b" a"),
]


def tokenizer():
    merges = [[written(left), written(right)] for left, right in MERGES]
    tokens = SPECIAL + SINGLE + ["".join(pair) for pair in merges]
    assert len(tokens) == len(set(tokens)) == 97, len(tokens)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, content in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [1], "tokens": ["<|begin|>"]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
        },
    }


TEXTS = [
    "hello world", "hello\nworld", "the hell of it is 42!!", "café, crème", "10 € a day", "hi \U0001f600\U0001f601", "",
    "<|begin|>hello<|end|>", " the the", "a<|pad|>b", "é€\U0001f600", "'ll re've!? it's",
]


def text_cases(model: Tokenizer):
    cases = []
    for text in TEXTS:
        for special in (True, False):
            cases.append({"text": text, "special": special, "ids": model.encode(text, add_special_tokens=special).ids})
    return cases


def decode_cases(model: Tokenizer):
    rng = random.Random(7)
    cases = []
    for _ in range(60):
        ids = [rng.randrange(97) for _ in range(rng.randrange(1, 12))]
        special = rng.random() < 0.5
        cases.append({"ids": ids, "special": special, "text": model.decode(ids, skip_special_tokens=not special)})
    return cases


CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADERS = (
    "{%- set first = namespace(done=false) -%}{%- for message in messages -%}"
    "{%- if not first.done %}{{- bos_token }}{%- set first.done = true -%}{%- endif -%}"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}"
)
BRACKETS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] ~ eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "brackets": BRACKETS}
CONVERSATIONS = [
    [{"role": "user", "content": "hello"}],
    [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "  hello\n"}],
    [
        {"role": "user", "content": "1 < 2 & 'quotes' \"too\"?"},
        {"role": "assistant", "content": "Yes, é€\U0001f600 {{ braces }}."},
        {"role": "user", "content": "{% raw %}"},
    ],
]


def chat_cases():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(message):
        raise TemplateError(message)

    environment.globals["raise_exception"] = raise_exception
    cases = []
    for name, source in TEMPLATES.items():
        template = environment.from_string(source)
        for messages in CONVERSATIONS:
            case = {"template": name, "messages": messages}
            try:
                case["text"] = template.render(
                    messages=messages, add_generation_prompt=True, bos_token="<|begin|>", eos_token="<|end|>"
                )
            except TemplateError as error:
                case["error"] = str(error)
            cases.append(case)
    return {"templates": TEMPLATES, "cases": cases}


def main():
    folder = Path(sys.argv[1])

    def save(name, value):
        (folder / name).write_text(json.dumps(value, ensure_ascii=True, indent=1) + "\n")

    save("tokenizer.json", tokenizer())
    model = Tokenizer.from_file(str(folder / "tokenizer.json"))
    save("tokenized.json", {"encode": text_cases(model), "decode": decode_cases(model)})
    save("chats.json", chat_cases())


main()
