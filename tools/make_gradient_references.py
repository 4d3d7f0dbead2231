"""Write the PyTorch gradients in tests/gradients/.

    python -m venv .venv && .venv/bin/pip install -r tools/requirements.txt
    .venv/bin/python tools/make_gradient_references.py                # all cases
    .venv/bin/python tools/make_gradient_references.py lenet5 unet    # some of them

A case is a net, `<case>.net` (LeNet-5 is the one in specs/), and `<case>.safetensors` with what PyTorch
makes of it: the weights it starts from under their names; a batch as `__input` and its targets, class
probabilities, as `__target`; the loss as `__loss` and the gradient of each parameter as `__gradient.NAME`;
the losses of 20 steps on that batch as `__sgd` and `__adamw`; and the running statistics after the steps
of SGD as `__after.NAME`.

The steps are `SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)` and
`AdamW(lr=0.002, weight_decay=0.1)`; only weights of convolutions and linear layers decay.
"""

import argparse
import copy
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn
from torch_nets import Basic, Lenet5

TARGET = Path(__file__).resolve().parent.parent / "tests" / "gradients"
CASES = {}


def case(build):
    CASES[build.__name__] = build
    return build


@case
def lenet5():
    return Lenet5(), torch.randn(5, 1, 32, 32), 10


class Head(nn.Module):
    """A body, global average pooling and a linear layer."""

    def __init__(self, channels, classes, **body):
        super().__init__()
        for name, layer in body.items():
            self.add_module(name, layer)
        self.body = list(body)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        for name in self.body:
            x = getattr(self, name)(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


@case
def residual_stage():
    layer = nn.Sequential(Basic(6, 16, 2), Basic(16, 16, 1))
    return Head(16, 5, layer=layer), torch.randn(4, 6, 17, 14), 5


class Inception(nn.Module):
    def __init__(self, before, c1, r3, c3, r5, c5, p):
        super().__init__()
        self.branch1 = nn.Conv2d(before, c1, 1)
        self.branch2 = nn.Sequential(nn.Conv2d(before, r3, 1), nn.ReLU(), nn.Conv2d(r3, c3, 3, padding=1))
        self.branch3 = nn.Sequential(nn.Conv2d(before, r5, 1), nn.ReLU(), nn.Conv2d(r5, c5, 5, padding=2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(before, p, 1))

    def forward(self, x):
        branches = [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]
        return F.relu(torch.cat(branches, 1))


@case
def inception_module():
    return Head(17, 4, inception=Inception(12, 4, 6, 8, 3, 3, 2)), torch.randn(3, 12, 7, 6), 4


class Inverted(nn.Module):
    def __init__(self, before, after, stride, expand):
        super().__init__()
        hidden = before * expand
        self.skip = stride == 1 and before == after
        self.conv = nn.Sequential(
            nn.Sequential(nn.Conv2d(before, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()),
            nn.Sequential(
                nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()
            ),
            nn.Conv2d(hidden, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


@case
def inverted_residual():
    features = nn.Sequential(Inverted(5, 7, 2, 4), Inverted(7, 7, 1, 3))
    return Head(7, 6, features=features), torch.randn(4, 5, 11, 10), 6


class Unet(nn.Module):
    """Two levels; a prediction for each pixel."""

    def __init__(self):
        super().__init__()
        self.down, self.bottom = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up, self.join = nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(12, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, x):
        skip = F.relu(self.down(x))
        up = self.up(F.relu(self.bottom(F.max_pool2d(skip, 2))))
        return self.head(F.relu(self.join(torch.cat([skip, up], 1))))


@case
def unet():
    return Unet(), torch.randn(2, 3, 8, 10), 3


def loss(net, x, target):
    return F.cross_entropy(net(x), target)


def steps(net, x, target, optimiser):
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        value = loss(net, x, target)
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return torch.tensor(losses)


def groups(net, decay):
    weights = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


def write(name, build):
    torch.manual_seed(zlib.crc32(name.encode()))
    net, x, classes = build()
    net.train()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2.0)
    shape = net(x).shape
    with torch.no_grad():
        net.load_state_dict(net.state_dict())
    target = torch.softmax(2 * torch.randn(shape), 1)
    tensors = {key: value.clone() for key, value in net.state_dict().items()}
    tensors |= {"__input": x, "__target": target}
    first = copy.deepcopy(net)
    value = loss(first, x, target)
    value.backward()
    tensors["__loss"] = value.detach().reshape(1)
    tensors |= {f"__gradient.{key}": p.grad for key, p in first.named_parameters()}
    sgd = copy.deepcopy(net)
    tensors["__sgd"] = steps(sgd, x, target, torch.optim.SGD(groups(sgd, 0.01), lr=0.05, momentum=0.9, nesterov=True))
    tensors |= {f"__after.{key}": value.clone() for key, value in sgd.named_buffers()}
    adamw = copy.deepcopy(net)
    tensors["__adamw"] = steps(adamw, x, target, torch.optim.AdamW(groups(adamw, 0.1), lr=0.002))
    TARGET.mkdir(exist_ok=True)
    (TARGET / f"{name}.safetensors").write_bytes(save({key: value.contiguous() for key, value in tensors.items()}))
    print(name, classes, tensors["__sgd"][[0, -1]].tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    for name in parser.parse_args().cases or CASES:
        write(name, CASES[name])


if __name__ == "__main__":
    main()
