"""Count the work of five torchvision nets with fvcore and write tests/reference/fvcore.json.

    python -m venv .venv && .venv/bin/pip install -r tools/requirements.txt
    .venv/bin/python tools/fvcore_counts.py

One image of 224x224, eval mode, fvcore's default operator handlers. fvcore counts one
multiply-accumulate as one flop. Every count is an exact integer; `unsupported` says how often
fvcore met an operator that it has no rule for and therefore counted as nothing.
"""

import json
from importlib.metadata import version
from pathlib import Path

import torch
import torchvision.models as models
from fvcore.nn import FlopCountAnalysis

TARGET = Path(__file__).resolve().parent.parent / "tests" / "reference" / "fvcore.json"

NETS = {
    "resnet18": models.resnet18,
    "resnet50": models.resnet50,
    "mobilenet_v2": models.mobilenet_v2,
    "densenet121": models.densenet121,
    "googlenet": lambda: models.googlenet(
        init_weights=False, aux_logits=False, transform_input=False
    ),
}


def count(model):
    analysis = FlopCountAnalysis(model.eval(), torch.zeros(1, 3, 224, 224))
    analysis.unsupported_ops_warnings(False)
    return {
        "total": int(analysis.total()),
        "by_operator": {op: int(n) for op, n in sorted(analysis.by_operator().items())},
        "unsupported": dict(sorted(analysis.unsupported_ops().items())),
    }


def main():
    result = {
        "package": f"fvcore=={version('fvcore')}",
        "torchvision": version("torchvision"),
        "nets": {name: count(build()) for name, build in NETS.items()},
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(result, indent=2) + "\n")
    for name, counts in result["nets"].items():
        print(f"{name:14} {counts['total']:>14,}")


if __name__ == "__main__":
    main()
