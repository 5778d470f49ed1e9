"""Token ids and chats by other code: python make_tokenized.py TOKENIZER.json TOKENIZER_CONFIG.json > tokenized.json"""

import json
import sys

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

TEXTS = [
    "47 + 85 = ?", "(12 + 7) * 3 = ?", "2 * (9 - 4) = ?", "100 - 250 = ?", "Which is larger, 45 or 54?",
    "Tom has 3 apples and buys 14 more. How many apples does Tom have?",
    "There are 4 boxes with 6 pears in each. How many pears are there?",
    "Eva has 90 coins and buys 4 pens for 12 coins each. How many coins does Eva have left?",
    "7+5=12\n4+8+1=13\n#### 132", "<|user|>1 + 1 = ?<|assistant|>#### 2<|end|>", "<|pad|><|end|>",
    "Tomapples has  two   spaces ", "\n\n \t x", "it's, don't; we'll", "naïve café €5 — 日本語 🍎👩‍👧", "a\u0000b\u007f", "-17", "____",
]
CHATS = [
    [{"role": "user", "content": "1 + 1 = ?"}],
    [{"role": "user", "content": " 1 + 1 = ?\n"}, {"role": "assistant", "content": "#### 2"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
     {"role": "assistant", "content": "d <é>"}],
]

tokenizer = Tokenizer.from_file(sys.argv[1])
template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
    json.load(open(sys.argv[2]))["chat_template"])
encoded = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]
for case in encoded:
    assert tokenizer.decode(case["ids"], skip_special_tokens=False) == case["text"], case
chats = [{"messages": messages, "text": template.render(messages=messages, add_generation_prompt=False)}
         for messages in CHATS]
json.dump({"encoded": encoded, "chats": chats}, sys.stdout, ensure_ascii=True)
print()
print(jinja2.__version__, file=sys.stderr)
