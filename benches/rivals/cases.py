"""The nets of the benchmark, and where their files are."""

import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODELS = ROOT / ".material" / "rivals"

NETS = ["lenet5", "alexnet", "vgg16", "resnet18", "resnet50", "googlenet", "mobilenet_v2", "densenet121"]
LARGE_BATCH = ["resnet50", "vgg16"]


@dataclass(frozen=True)
class Case:
    """A net at a batch size; its text is `resnet50` or, at a larger batch, `resnet50@8`."""

    net: str
    batch: int

    @staticmethod
    def parse(text):
        net, _, batch = text.partition("@")
        if net not in NETS or not (batch or "1").isdigit() or int(batch or 1) == 0:
            raise ValueError(f"no such case: {text}; write a net or net@batch, with a net of {', '.join(NETS)}")
        return Case(net, int(batch or 1))

    def __str__(self):
        return self.net if self.batch == 1 else f"{self.net}@{self.batch}"

    @property
    def shape(self):
        return (self.batch, 1, 32, 32) if self.net == "lenet5" else (self.batch, 3, 224, 224)

    def file(self, suffix):
        """A file that depends on the batch size: the input, the reference, a model with fixed sizes."""
        return MODELS / f"{self.net}.b{self.batch}.{suffix}"

    @property
    def spec(self):
        return ROOT / "specs" / f"{self.net}.net"

    @property
    def weights(self):
        return MODELS / f"{self.net}.safetensors"


ALL = [Case(net, 1) for net in NETS] + [Case(net, 8) for net in LARGE_BATCH]


def environment(threads, prepack):
    """The environment of a worker: libraries that count cores on their own are told how many threads there are.

    `prepack` asks for weights in the form that runs fastest where a rival leaves that to its user (rten); without it
    the start is shortest.
    """
    number = str(threads)
    limits = {"OMP_NUM_THREADS": number, "RTEN_NUM_THREADS": number, "RAYON_NUM_THREADS": number}
    return os.environ | limits | {"RIVALS_PREPACK": str(int(prepack))}
