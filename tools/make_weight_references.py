"""Writes tests/reference/weights/: checkpoints as PyTorch saves them, and what is in them.

Usage: python tools/make_weight_references.py   (packages: tools/requirements.txt)

`expected.json` lists, for every file, each tensor's name, shape and values as f32. The files are small on purpose; the
numbers are quarters, exact in every type of float.
"""

import argparse
import collections
import json
import os
import pathlib
import unittest.mock
import zipfile

import numpy
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "reference" / "weights"


def ramp(*shape, dtype=torch.float32):
    count = int(numpy.prod(shape))
    return (torch.arange(count, dtype=torch.float32) / 4 - 1).reshape(shape).to(dtype)


def small_net():
    net = torch.nn.Sequential(
        collections.OrderedDict(conv=torch.nn.Conv2d(1, 2, 3), bn=torch.nn.BatchNorm2d(2), fc=torch.nn.Linear(4, 3))
    )
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(ramp(*tensor.shape))
            else:
                tensor.fill_(7)
    return net


def views():
    base = ramp(4, 6)
    return {
        "transposed": base.t(),
        "rows": base[1:3],
        "columns": base[:, 2:5],
        "steps": base[::2, ::3],
        "channels_last": ramp(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        "one": base[2, 3],
        "empty": base[:0],
        "tied": base,
    }


def types():
    dtypes = [
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
    ]
    tensors = {str(dtype).removeprefix("torch."): ramp(2, 3, dtype=dtype) for dtype in dtypes}
    tensors["uint8"] = torch.tensor([0, 7, 255], dtype=torch.uint8)
    tensors["bool"] = torch.tensor([True, False, True])
    return tensors


class Malicious:
    def __reduce__(self):
        return os.system, ("echo executed",)


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(ramp(2))

    def forward(self, x):
        return x * self.w


def save(name, content, **options):
    torch.save(content, OUT / name, **options)


def parallel():
    return collections.OrderedDict((f"module.{key}", value) for key, value in small_net().state_dict().items())


def repack(name, target, method, skip="nothing"):
    """Copies a zip file; TorchScript's debug entries are left out because they hold paths of the machine."""
    with zipfile.ZipFile(name) as source:
        entries = [(entry.filename, source.read(entry)) for entry in source.infolist() if skip not in entry.filename]
    with zipfile.ZipFile(target, "w") as packed:
        for filename, content in entries:
            packed.writestr(zipfile.ZipInfo(filename), content, method)


def listed(tensors):
    return [
        {"name": name, "shape": list(tensor.shape), "values": tensor.detach().to(torch.float32).flatten().tolist()}
        for name, tensor in tensors.items()
    ]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    net = small_net()
    state = net.state_dict()
    older = {"_use_new_zipfile_serialization": False}
    training = {
        "epoch": 3,
        "best": numpy.float64(0.5),
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), sizes=torch.Size([1, 2])),
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9).state_dict(),
        "state_dict": parallel(),
    }
    attributed = torch.nn.Parameter(ramp(3))
    attributed.note = "kept"

    save("zip.pth", state)
    save("zip_protocol4.pth", state, pickle_protocol=4)
    save("legacy.pth", state, **older)
    save("legacy_protocol4.pth", state, pickle_protocol=4, **older)
    save("training_zip.pth", training)
    save("training_legacy.pth", training, **older)
    save("model_key.pth", {"model": state, "step": 1})
    save("types_zip.pth", types())
    save("types_legacy.pth", types(), **older)
    save("views_zip.pth", views())
    save("views_legacy.pth", views(), **older)
    save("parameters.pth", {"plain": torch.nn.Parameter(ramp(2, 2)), "attributed": attributed})
    save("malicious_zip.pth", {"w": ramp(1), "x": Malicious()})
    save("malicious_legacy.pth", {"w": ramp(1), "x": Malicious()}, **older)
    save("whole_module_zip.pth", Plain())
    # The older container keeps the source and its path, which is the machine's own.
    with unittest.mock.patch("torch.serialization.get_source_lines_and_file", lambda _: (["pass"], 0, "plain.py")):
        save("whole_module_legacy.pth", Plain(), **older)
    save("complex.pth", {"w": torch.zeros(2, dtype=torch.complex64)})
    save("expanded.pth", {"w": ramp(1).expand(1000)})
    torch.jit.save(torch.jit.script(Plain()), OUT / "torchscript.pt")
    repack(OUT / "torchscript.pt", OUT / "torchscript.pt", zipfile.ZIP_STORED, skip=".debug_pkl")
    repack(OUT / "zip.pth", OUT / "deflated.pth", zipfile.ZIP_DEFLATED)
    save_file({name: tensor.contiguous() for name, tensor in types().items()}, OUT / "types.safetensors")

    expected = {name: listed(state) for name in ["zip.pth", "zip_protocol4.pth", "legacy.pth", "legacy_protocol4.pth"]}
    for name in ["training_zip.pth", "training_legacy.pth", "model_key.pth", "deflated.pth"]:
        expected[name] = listed(state)
    for name in ["types_zip.pth", "types_legacy.pth", "types.safetensors"]:
        expected[name] = listed(types())
    for name in ["views_zip.pth", "views_legacy.pth"]:
        expected[name] = listed(views())
    expected["parameters.pth"] = listed({"plain": ramp(2, 2), "attributed": ramp(3)})
    lines = (f"{json.dumps(name)}: {json.dumps(tensors)}" for name, tensors in expected.items())
    (OUT / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
