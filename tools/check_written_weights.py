"""Reads a .pth file that netc wrote with PyTorch, and holds it against the safetensors file it was converted from.

Usage: python tools/check_written_weights.py WRITTEN.pth FROM.safetensors   (packages: tools/requirements.txt)

Types, shapes and bytes must be equal, through `torch.load(weights_only=True)` with and without a memory map.
"""

import sys

import torch
from safetensors import safe_open


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.is_contiguous() and torch.equal(raw(a), raw(b))


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def main():
    written, source = sys.argv[1:]
    with safe_open(source, "pt") as opened:
        expected = {name: opened.get_tensor(name) for name in opened.keys()}
        metadata = {key: value for key, value in (opened.metadata() or {}).items() if (key, value) != ("format", "pt")}
    for mmap in [False, True]:
        state = torch.load(written, weights_only=True, mmap=mmap)
        assert set(state) == set(expected), set(state) ^ set(expected)
        wrong = [name for name, tensor in state.items() if not same(tensor, expected[name])]
        assert not wrong, wrong
        assert getattr(state, "metadata", {}) == metadata, state.metadata
    print(f"{written}: the same {len(expected)} tensors")


if __name__ == "__main__":
    main()
