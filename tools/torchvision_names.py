"""Write tests/reference/torchvision_names.json: the state dict of every torchvision net that specs/ has.

    python -m venv .venv && .venv/bin/pip install -r tools/requirements.txt
    .venv/bin/python tools/torchvision_names.py

For each net, one line: name to shape of all its parameters and buffers, in torchvision's order. GoogLeNet
comes with its two side heads, as its checkpoint does.
"""

import json
from pathlib import Path

import torch
import torchvision.models as models

TARGET = Path(__file__).resolve().parent.parent / "tests" / "reference" / "torchvision_names.json"

PLAIN = [
    "alexnet",
    "densenet121",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg16_bn",
    "vgg19",
]
NETS = {name: getattr(models, name) for name in PLAIN}
NETS["googlenet"] = lambda: models.googlenet(init_weights=False, aux_logits=True)


def main():
    lines = []
    for name, build in sorted(NETS.items()):
        with torch.device("meta"):
            shapes = {key: list(tensor.shape) for key, tensor in build().state_dict().items()}
        lines.append(f'"{name}":{json.dumps(shapes, separators=(",", ":"))}')
        print(f"{name:14} {len(shapes):4} tensors")
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
