"""Compares llama_float64.py with the models of the `transformers` package, run in float64 on the CPU.

transformers computes norms, rotations and softmax in float32 even for a float64 model; the second column is measured with
those places widened to float64, so that it shows the formulas alone.

    python crosscheck_transformers.py FOLDER... [--gguf MODEL.gguf --goldens FOLDER]
"""

import argparse
import contextlib
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

from llama_float64 import forward, load


class WideTorch:
    """The torch module, except that a request for float32 gets float64."""

    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def widened():
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("transformers.") and ("modeling_" in name or "integrations" in name) and getattr(module, "torch", None) is torch
    ]
    narrow = torch.Tensor.float
    for module in modules:
        module.torch = WideTorch()
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        for module in modules:
            module.torch = torch
        torch.Tensor.float = narrow


def transformers_logits(folder, tokens, **options):
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64, **options)
    model.eval()
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].double().numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--gguf", type=pathlib.Path)
    parser.add_argument("--goldens", type=pathlib.Path, help="folder with the goldens of that GGUF")
    arguments = parser.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    for folder in arguments.folders:
        tokens = json.loads((folder / "tokens.json").read_text())
        ours = forward(*load(folder), tokens)
        assert np.array_equal(ours, np.fromfile(folder / "logits.f64").reshape(ours.shape)), "stored logits differ"
        stock = np.abs(ours - transformers_logits(folder, tokens)).max()
        with widened():
            wide = np.abs(ours - transformers_logits(folder, tokens)).max()
        print(f"{folder.name}: max |difference| {stock:.1e}, widened {wide:.1e}")
    if arguments.gguf:
        for golden in sorted(arguments.goldens.glob("*.json")):
            record = json.loads(golden.read_text())
            last = np.fromfile(golden.with_suffix(".last.f32"), dtype="<f4")
            logits = transformers_logits(arguments.gguf.parent, record["tokens"], gguf_file=arguments.gguf.name)
            same = all(int(row.argmax()) == position["argmax"] for row, position in zip(logits, record["positions"]))
            top = max(
                abs(row[token] - value)
                for row, position in zip(logits, record["positions"])
                for token, value in position["top"]
            )
            difference = np.abs(logits[-1] - last).max()
            print(f"{golden.stem}: last position {difference:.1e}, top 16 of every position {top:.1e}, same argmax {same}")


if __name__ == "__main__":
    main()
