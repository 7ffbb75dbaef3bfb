"""Writes the network that the harness trained as ONNX: `export_harness.py WEIGHTS.pth OUT.onnx`, with nothing but numpy.

A .pth file is a zip of a pickle, whose tensors name entries with their raw numbers. Of the pickle only what tensors need
is allowed. The normalisation stands before the first layer, as the harness applies it.
"""

import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

from dense_onnx import dense_network

MEAN, DEVIATION = 0.1307, 0.3081
LAYERS = ("fc1", "fc2", "fc3")


class Float32:
    """Stands for the type of storages; no others are read."""


def rebuild_tensor(storage, offset, shape, strides, *_):
    strides = [4 * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides).copy()


class Tensors(pickle.Unpickler):
    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch", "FloatStorage"): Float32,
    }

    def __init__(self, archive):
        self.archive = archive
        self.folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).rsplit("/", 1)[0]
        super().__init__(archive.open(f"{self.folder}/data.pkl"))

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise SystemExit(f"the weights name {module}.{name}, which no tensor of 32-bit numbers needs")
        return self.ALLOWED[module, name]

    def persistent_load(self, reference):
        kind, storage, key = reference[:3]
        if kind != "storage" or storage is not Float32:
            raise SystemExit("the weights are no 32-bit numbers")
        return np.frombuffer(self.archive.read(f"{self.folder}/data/{key}"), "<f4")


def main():
    source, target = map(Path, sys.argv[1:])
    with zipfile.ZipFile(source) as archive:
        weights = Tensors(archive).load()
    layers = [(weights[f"{layer}.weight"], weights[f"{layer}.bias"]) for layer in LAYERS]
    text = dense_network(layers, "relu", (MEAN, DEVIATION))
    # The same network keeps its file, so that plans made of it stay.
    if not target.is_file() or target.read_bytes() != text:
        target.write_bytes(text)


if __name__ == "__main__":
    main()
