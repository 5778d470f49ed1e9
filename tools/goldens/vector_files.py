"""Collects conformance cases and writes them: one JSON manifest and one safetensors file per op, the same bytes on every run."""

import json
import pathlib
import struct

import numpy as np

from canonical import NAMES

SAFETENSORS = {
    "f32": "F32", "bf16": "BF16", "f16": "F16", "f8e4m3fn": "F8_E4M3", "f8e5m2": "F8_E5M2", "f8e8m0fnu": "F8_E8M0",
    "i32": "I32", "u8": "U8", "bool": "BOOL",
}


class VectorFiles:
    def __init__(self):
        self.manifests = {}
        self.tensors = {}

    def case(self, op, name, operands, attributes, results, tolerance="bits", parameters=()):
        """`parameters`: which operands (by index) a model holds as parameters; the case is then run in that form too."""
        cases = self.manifests.setdefault(op, [])
        assert all(other["name"] != name for other in cases), (op, name)
        entry = {
            "name": name,
            "operands": [None if x is None else self.reference(op, name, f"x{i}", x) for i, x in enumerate(operands)],
            "attributes": attributes,
            "results": [self.reference(op, name, f"y{i}", y) for i, y in enumerate(results)],
            "tolerance": tolerance,
        }
        if parameters:
            entry["parameters"] = list(parameters)
        cases.append(entry)

    def reference(self, op, case, role, array):
        """Equal tensors are stored once, under the name that came first."""
        array = np.asarray(array, order="C")
        dtype, data = NAMES[array.dtype], array.tobytes()
        key = (dtype, np.shape(array), data)
        store = self.tensors.setdefault(op, {})
        name = store.setdefault(key, f"{case}.{role}")
        return {"tensor": name, "dtype": dtype, "shape": list(np.shape(array))}

    def write(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for old in [*folder.glob("*.json"), *folder.glob("*.safetensors")]:
            old.unlink()
        for op, cases in self.manifests.items():
            head = {"format": 1, "domain": "core", "op": op, "version": 1, "tensors": f"{op}.safetensors"}
            lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
            text = json.dumps(head)[:-1] + f', "cases": [\n{lines}\n]}}\n'
            (folder / f"{op}.json").write_text(text)
            (folder / f"{op}.safetensors").write_bytes(safetensors(self.tensors.get(op, {})))
        index = {"format": 1, "manifests": sorted(f"{op}.json" for op in self.manifests)}
        (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def safetensors(store):
    """Wide elements first, so that every tensor is aligned to its element size."""
    width = {"f32": 4, "i32": 4, "bf16": 2, "f16": 2}
    items = sorted(((name, *key) for key, name in store.items()), key=lambda item: (-width.get(item[1], 1), item[0]))
    header, end = {}, 0
    for name, dtype, shape, data in items:
        header[name] = {"dtype": SAFETENSORS[dtype], "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in items)
