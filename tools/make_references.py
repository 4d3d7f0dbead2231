"""Write the small PyTorch references in tests/reference/.

    python -m venv .venv && .venv/bin/pip install -r tools/requirements.txt
    .venv/bin/python tools/make_references.py                              # all cases
    .venv/bin/python tools/make_references.py conv_groups slice_channels   # some of them

A case is two files. `<case>.net` is the net in netc's language. `<case>.safetensors` holds what
PyTorch makes of it: the weights under their PyTorch names, the input as `__input` (several inputs
as `__input.0`, `__input.1`, ... in the order the net declares them) and the expected output as
`__output`; its metadata key `case` says what was called. The tests run every pair and compare, so
a new case needs nothing but a function here.

Each function below is one case: the decorator holds its `.net` text, the docstring says in words
what PyTorch is asked, and it returns the module and its inputs. Every case has a random seed of
its own, so adding a case leaves the others as they are.
"""

import argparse
import zlib
from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.googlenet import Inception
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock

TARGET = Path(__file__).resolve().parent.parent / "tests" / "reference"
CASES = {}


def case(body):
    """Register a function as a case whose net is `body`; the net is named as the function."""

    def register(build):
        CASES[build.__name__] = (build, body)
        return build

    return register


class Call(nn.Module):
    """A function without weights as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def named(**layers):
    """A chain of layers whose parameters carry the layers' names."""
    return nn.Sequential(OrderedDict(layers))


def normal(*shape, scale=1.0):
    return scale * torch.randn(*shape)


def randomise_norms(model):
    """Give every normalisation weights and statistics that are not the identity."""
    norms = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)
    for module in model.modules():
        if isinstance(module, norms) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


# ---- convolution --------------------------------------------------------------------------------


@case("""
  input x: [3, 6, 7]
  conv1: conv(4, 3, pad = 1)
  output y
""")
def conv_3x3():
    """Conv2d(3, 4, 3, padding=1)"""
    return named(conv1=nn.Conv2d(3, 4, 3, padding=1)), [normal(2, 3, 6, 7)]


@case("""
  input x: [5, 4, 3]
  conv1: conv(7, 1, bias = false)
  output y
""")
def conv_1x1():
    """Conv2d(5, 7, 1, bias=False)"""
    return named(conv1=nn.Conv2d(5, 7, 1, bias=False)), [normal(2, 5, 4, 3)]


@case("""
  input x: [2, 6, 8]
  conv1: conv(3, [5, 2], pad = [2, 1])
  output y
""")
def conv_rectangular():
    """Conv2d(2, 3, (5, 2), padding=(2, 1))"""
    return named(conv1=nn.Conv2d(2, 3, (5, 2), padding=(2, 1))), [normal(2, 2, 6, 8)]


@case("""
  input x: [2, 9, 10]
  conv1: conv(3, 3, stride = [2, 3], pad = 1)
  output y
""")
def conv_stride():
    """Conv2d(2, 3, 3, stride=(2, 3), padding=1)"""
    return named(conv1=nn.Conv2d(2, 3, 3, stride=(2, 3), padding=1)), [normal(2, 2, 9, 10)]


@case("""
  input x: [2, 9, 8]
  conv1: conv(3, 3, pad = [2, 1], dilation = [2, 3])
  output y
""")
def conv_dilation():
    """Conv2d(2, 3, 3, padding=(2, 1), dilation=(2, 3))"""
    module = nn.Conv2d(2, 3, 3, padding=(2, 1), dilation=(2, 3))
    return named(conv1=module), [normal(2, 2, 9, 8)]


@case("""
  input x: [4, 9, 7]
  conv1: conv(6, [3, 2], stride = [2, 1], pad = 1, groups = 2)
  output y
""")
def conv_groups():
    """Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2)"""
    module = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2)
    return named(conv1=module), [normal(2, 4, 9, 7)]


@case("""
  input x: [2, 5, 6]
  conv1: conv(3, 3, stride = 2, pad = [1, 0, 2, 3])
  output y
""")
def conv_asymmetric_pad():
    """F.pad by 1 above, 0 left, 2 below, 3 right, then Conv2d(2, 3, 3, stride=2)"""
    pad = nn.ZeroPad2d((0, 3, 1, 2))
    return named(pad=pad, conv1=nn.Conv2d(2, 3, 3, stride=2)), [normal(2, 2, 5, 6)]


@case("""
  input x: [6, 7, 5]
  conv1: conv(6, 3, stride = 2, pad = 1, groups = 6, bias = false)
  output y
""")
def conv_depthwise():
    """Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False)"""
    module = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False)
    return named(conv1=module), [normal(2, 6, 7, 5)]


@case("""
  input x: [3, 6, 5]
  conv1: conv(6, 3, pad = 1, groups = 3)
  output y
""")
def conv_depthwise_multiplier():
    """Conv2d(3, 6, 3, padding=1, groups=3): two outputs for each input channel"""
    return named(conv1=nn.Conv2d(3, 6, 3, padding=1, groups=3)), [normal(2, 3, 6, 5)]


@case("""
  input x: [4, 3, 4]
  up: conv_transpose(6, 3, stride = 2, pad = 1, output_pad = 1, groups = 2)
  output y
""")
def conv_transpose_groups():
    """ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)"""
    module = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
    return named(up=module), [normal(2, 4, 3, 4)]


@case("""
  input x: [3, 4, 3]
  up: conv_transpose(2, [3, 2], stride = [1, 3], dilation = [2, 1], output_pad = [0, 2], bias = false)
  output y
""")
def conv_transpose_rectangular():
    """ConvTranspose2d(3, 2, (3, 2), stride=(1, 3), dilation=(2, 1), output_padding=(0, 2), bias=False)"""
    module = nn.ConvTranspose2d(
        3, 2, (3, 2), stride=(1, 3), dilation=(2, 1), output_padding=(0, 2), bias=False
    )
    return named(up=module), [normal(2, 3, 4, 3)]


# ---- normalisation ------------------------------------------------------------------------------


@case("""
  input x: [5, 3, 4]
  bn1: bn
  output y
""")
def batch_norm_eval():
    """BatchNorm2d(5) in eval mode, random statistics, weight and bias"""
    return named(bn1=nn.BatchNorm2d(5)), [normal(2, 5, 3, 4)]


@case("""
  input x: [3, 6, 5]
  conv1: conv(4, 3, pad = 1, bias = false)
  bn1: bn(eps = 0.001)
  relu
  output y
""")
def conv_bn_relu():
    """Conv2d(3, 4, 3, padding=1, bias=False), BatchNorm2d(4, eps=0.001) in eval mode, ReLU"""
    module = named(
        conv1=nn.Conv2d(3, 4, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(4, eps=0.001),
        relu=nn.ReLU(),
    )
    return module, [normal(2, 3, 6, 5)]


@case("""
  input x: [7, 3, 4]
  lrn(5, alpha = 0.0001, beta = 0.75, k = 1.0)
  output y
""")
def lrn_odd_size():
    """LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0) on values of some hundreds"""
    return nn.LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0), [normal(2, 7, 3, 4, scale=200.0)]


@case("""
  input x: [6, 3, 4]
  lrn(4, alpha = 0.5, beta = 0.6, k = 2.0)
  output y
""")
def lrn_even_size():
    """LocalResponseNorm(4, alpha=0.5, beta=0.6, k=2.0): two channels before, one after"""
    return nn.LocalResponseNorm(4, alpha=0.5, beta=0.6, k=2.0), [normal(2, 6, 3, 4)]


@case("""
  input x: [6, 4, 3]
  norm: layer_norm(eps = 0.000001)
  output y
""")
def layer_norm_channels():
    """torchvision's LayerNorm2d(6, eps=1e-6): normalise over the channels of each pixel"""
    return named(norm=LayerNorm2d(6, eps=1e-6)), [normal(2, 6, 4, 3)]


@case("""
  input x: [6, 4, 3]
  norm: group_norm(3)
  output y
""")
def group_norm():
    """GroupNorm(3, 6)"""
    return named(norm=nn.GroupNorm(3, 6)), [normal(2, 6, 4, 3) + 1.0]


@case("""
  input x: [6]
  norm: group_norm(2, eps = 0.1, affine = false)
  output y
""")
def group_norm_vector():
    """GroupNorm(2, 6, eps=0.1, affine=False) on a vector"""
    return named(norm=nn.GroupNorm(2, 6, eps=0.1, affine=False)), [normal(3, 6)]


@case("""
  input x: [5, 4, 3]
  instance_norm
  norm: instance_norm(eps = 0.01, affine = true)
  output y
""")
def instance_norm():
    """InstanceNorm2d(5), then InstanceNorm2d(5, eps=0.01, affine=True)"""
    plain, norm = nn.InstanceNorm2d(5), nn.InstanceNorm2d(5, eps=0.01, affine=True)
    return named(plain=plain, norm=norm), [normal(2, 5, 4, 3, scale=3.0) + 1.0]


# ---- activations --------------------------------------------------------------------------------


@case("""
  input x: [3, 4, 5]
  relu
  output y
""")
def activation_relu():
    """ReLU()"""
    return nn.ReLU(), [normal(2, 3, 4, 5)]


@case("""
  input x: [3, 4, 5]
  relu6
  output y
""")
def activation_relu6():
    """ReLU6()"""
    return nn.ReLU6(), [normal(2, 3, 4, 5, scale=5.0)]


@case("""
  input x: [3, 4, 5]
  leaky_relu(0.1)
  output y
""")
def activation_leaky_relu():
    """LeakyReLU(0.1)"""
    return nn.LeakyReLU(0.1), [normal(2, 3, 4, 5)]


@case("""
  input x: [3, 4, 5]
  elu(0.5)
  output y
""")
def activation_elu():
    """ELU(0.5)"""
    return nn.ELU(0.5), [normal(2, 3, 4, 5)]


@case("""
  input x: [3, 4, 5]
  gelu
  output y
""")
def activation_gelu():
    """GELU(), the exact form with erf"""
    return nn.GELU(), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  gelu(tanh)
  output y
""")
def activation_gelu_tanh():
    """GELU(approximate="tanh")"""
    return nn.GELU(approximate="tanh"), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  silu
  output y
""")
def activation_silu():
    """SiLU()"""
    return nn.SiLU(), [normal(2, 3, 4, 5, scale=4.0)]


@case("""
  input x: [3, 4, 5]
  sigmoid
  output y
""")
def activation_sigmoid():
    """Sigmoid(), also far from zero"""
    return nn.Sigmoid(), [normal(2, 3, 4, 5, scale=40.0)]


@case("""
  input x: [3, 4, 5]
  hard_sigmoid
  output y
""")
def activation_hard_sigmoid():
    """Hardsigmoid()"""
    return nn.Hardsigmoid(), [normal(2, 3, 4, 5, scale=3.0)]


@case("""
  input x: [3, 4, 5]
  hard_swish
  output y
""")
def activation_hard_swish():
    """Hardswish()"""
    return nn.Hardswish(), [normal(2, 3, 4, 5, scale=3.0)]


@case("""
  input x: [3, 4, 5]
  tanh
  output y
""")
def activation_tanh():
    """Tanh(), also far from zero"""
    return nn.Tanh(), [normal(2, 3, 4, 5, scale=4.0)]


@case("""
  input x: [3, 4, 5]
  silu(1.702)
  output y
""")
def activation_silu_beta():
    """x * sigmoid(1.702 x)"""
    return Call(lambda x: x * torch.sigmoid(1.702 * x)), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  hard_sigmoid(0.2, 0.5)
  output y
""")
def activation_hard_sigmoid_slope():
    """(0.2 x + 0.5) between 0 and 1"""
    return Call(lambda x: (0.2 * x + 0.5).clamp(0, 1)), [normal(2, 3, 4, 5, scale=3.0)]


@case("""
  input x: [3, 4, 5]
  clip(-1.5, 0.75)
  output y
""")
def activation_clip():
    """Hardtanh(-1.5, 0.75)"""
    return nn.Hardtanh(-1.5, 0.75), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  clip(max = -0.25)
  output y
""")
def activation_clip_max():
    """torch.clamp(x, max=-0.25)"""
    return Call(lambda x: torch.clamp(x, max=-0.25)), [normal(2, 3, 4, 5, scale=1.0)]


@case("""
  input x: [3, 4, 5]
  selu
  output y
""")
def activation_selu():
    """SELU()"""
    return nn.SELU(), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  celu(0.5)
  output y
""")
def activation_celu():
    """CELU(0.5)"""
    return nn.CELU(0.5), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  softplus
  output y
""")
def activation_softplus():
    """Softplus() with a threshold that is never reached, also far from zero"""
    return nn.Softplus(threshold=1000), [normal(2, 3, 4, 5, scale=10.0)]


@case("""
  input x: [3, 4, 5]
  softplus(2)
  output y
""")
def activation_softplus_beta():
    """Softplus(2)"""
    return nn.Softplus(2), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  softsign
  output y
""")
def activation_softsign():
    """Softsign()"""
    return nn.Softsign(), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  mish
  output y
""")
def activation_mish():
    """Mish(), also far from zero"""
    return nn.Mish(), [normal(2, 3, 4, 5, scale=8.0)]


@case("""
  input x: [3, 4, 5]
  thresholded_relu(0.5)
  output y
""")
def activation_thresholded_relu():
    """Threshold(0.5, 0)"""
    return nn.Threshold(0.5, 0), [normal(2, 3, 4, 5, scale=1.0)]


@case("""
  input x: [3, 4, 5]
  abs
  output y
""")
def activation_abs():
    """torch.abs(x)"""
    return Call(torch.abs), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  exp
  output y
""")
def activation_exp():
    """torch.exp(x)"""
    return Call(torch.exp), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [3, 4, 5]
  log
  output y
""")
def activation_log():
    """torch.log(x) of positive numbers"""
    return Call(torch.log), [normal(2, 3, 4, 5, scale=2.0).abs() + 0.1]


@case("""
  input x: [3, 4, 5]
  sqrt
  output y
""")
def activation_sqrt():
    """torch.sqrt(x) of positive numbers"""
    return Call(torch.sqrt), [normal(2, 3, 4, 5, scale=2.0).abs()]


@case("""
  input x: [3, 4, 5]
  pow(1.5)
  output y
""")
def activation_pow():
    """torch.pow(x, 1.5) of positive numbers"""
    return Call(lambda x: torch.pow(x, 1.5)), [normal(2, 3, 4, 5, scale=2.0).abs()]


@case("""
  input x: [3, 4, 5]
  erf
  output y
""")
def activation_erf():
    """torch.erf(x)"""
    return Call(torch.erf), [normal(2, 3, 4, 5, scale=2.0)]


@case("""
  input x: [5, 3, 4]
  act: prelu
  output y
""")
def prelu_channels():
    """PReLU(5), random slopes"""
    module = named(act=nn.PReLU(5))
    nn.init.normal_(module.act.weight)
    return module, [normal(2, 5, 3, 4)]


@case("""
  input x: [7]
  act: prelu(shared = true)
  output y
""")
def prelu_shared():
    """PReLU() on a vector"""
    return named(act=nn.PReLU()), [normal(3, 7)]


@case("""
  input x: [5, 3, 4]
  softmax
  output y
""")
def softmax_channels():
    """Softmax(dim=1), over the channels, on values whose exponentials overflow"""
    return nn.Softmax(dim=1), [normal(2, 5, 3, 4) + 100.0]


@case("""
  input x: [5, 3, 4]
  log_softmax
  output y
""")
def log_softmax_channels():
    """LogSoftmax(dim=1), over the channels, on values whose exponentials overflow"""
    return nn.LogSoftmax(dim=1), [normal(2, 5, 3, 4, scale=2.0) + 100.0]


# ---- pooling ------------------------------------------------------------------------------------


@case("""
  input x: [3, 6, 9]
  maxpool(3, stride = 2, pad = 1)
  output y
""")
def max_pool():
    """MaxPool2d(3, stride=2, padding=1) on negative values: a padded cell never wins"""
    return nn.MaxPool2d(3, stride=2, padding=1), [-normal(2, 3, 6, 9).abs() - 0.1]


@case("""
  input x: [3, 6, 8]
  maxpool(3, stride = 2, pad = 1, ceil = true)
  output y
""")
def max_pool_ceil():
    """MaxPool2d(3, stride=2, padding=1, ceil_mode=True): the last windows hang over"""
    return nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), [normal(2, 3, 6, 8) - 3.0]


@case("""
  input x: [3, 5, 7]
  maxpool(2, stride = 3, pad = 1, ceil = true)
  output y
""")
def max_pool_ceil_drops_window():
    """MaxPool2d(2, stride=3, padding=1, ceil_mode=True): a window that would start in the padding is dropped"""
    return nn.MaxPool2d(2, stride=3, padding=1, ceil_mode=True), [normal(2, 3, 5, 7) - 3.0]


@case("""
  input x: [3, 8, 7]
  avgpool([3, 2])
  output y
""")
def avg_pool():
    """AvgPool2d((3, 2))"""
    return nn.AvgPool2d((3, 2)), [normal(2, 3, 8, 7)]


@case("""
  input x: [3, 6, 8]
  avgpool(3, stride = 2, pad = 1, count_pad = true, ceil = true)
  output y
""")
def avg_pool_count_pad():
    """AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=True)"""
    module = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=True)
    return module, [normal(2, 3, 6, 8)]


@case("""
  input x: [3, 6, 8]
  avgpool(3, stride = 2, pad = 1, count_pad = false, ceil = true)
  output y
""")
def avg_pool_no_count_pad():
    """AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)"""
    module = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    return module, [normal(2, 3, 6, 8)]


@case("""
  input x: [3, 8, 9]
  avgpool([3, 2], stride = [2, 1], dilation = [2, 3], pad = 1)
  output y
""")
def avg_pool_dilation():
    """The mean of the taps that a depthwise convolution with a kernel of ones and this dilation sums"""
    ones = torch.ones(3, 1, 3, 2) / 6.0
    dilated = Call(lambda x: F.conv2d(x, ones, stride=(2, 1), padding=1, dilation=(2, 3), groups=3))
    return dilated, [normal(2, 3, 8, 9)]


@case("""
  input x: [3, 7, 5]
  avgpool(to = [3, 2])
  output y
""")
def avg_pool_adaptive():
    """AdaptiveAvgPool2d((3, 2)) on 7x5: the windows overlap"""
    return nn.AdaptiveAvgPool2d((3, 2)), [normal(2, 3, 7, 5)]


@case("""
  input x: [3, 2, 3]
  avgpool(to = [4, 6])
  output y
""")
def avg_pool_adaptive_larger():
    """AdaptiveAvgPool2d((4, 6)) on 2x3: more outputs than inputs"""
    return nn.AdaptiveAvgPool2d((4, 6)), [normal(2, 3, 2, 3)]


@case("""
  input x: [3, 7, 5]
  maxpool(to = [3, 2])
  output y
""")
def max_pool_adaptive():
    """AdaptiveMaxPool2d((3, 2)) on 7x5: the windows overlap"""
    return nn.AdaptiveMaxPool2d((3, 2)), [normal(2, 3, 7, 5) - 3.0]


@case("""
  input x: [5, 4, 3]
  avgpool(global)
  output y
""")
def avg_pool_global():
    """AdaptiveAvgPool2d(1)"""
    return nn.AdaptiveAvgPool2d(1), [normal(2, 5, 4, 3)]


@case("""
  input x: [5, 4, 3]
  maxpool(global)
  output y
""")
def max_pool_global():
    """AdaptiveMaxPool2d(1)"""
    return nn.AdaptiveMaxPool2d(1), [normal(2, 5, 4, 3) - 4.0]


# ---- shapes -------------------------------------------------------------------------------------


@case("""
  input x: [3, 2, 4]
  flatten
  fc: linear(5)
  output y
""")
def flatten_linear():
    """Flatten() in c, h, w order, then Linear(24, 5)"""
    return named(flatten=nn.Flatten(), fc=nn.Linear(24, 5)), [normal(3, 3, 2, 4)]


@case("""
  input x: [2, 5, 6]
  pad([1, 2, 3, 4], zero)
  output y
""")
def pad_zero():
    """ZeroPad2d: 1 above, 2 left, 3 below, 4 right"""
    return nn.ZeroPad2d((2, 4, 1, 3)), [normal(2, 2, 5, 6)]


@case("""
  input x: [2, 5, 6]
  pad([1, 2, 3, 4], reflect)
  output y
""")
def pad_reflect():
    """ReflectionPad2d: 1 above, 2 left, 3 below, 4 right"""
    return nn.ReflectionPad2d((2, 4, 1, 3)), [normal(2, 2, 5, 6)]


@case("""
  input x: [2, 3, 2]
  pad([1, 2, 3, 4], replicate)
  output y
""")
def pad_replicate():
    """ReplicationPad2d: 1 above, 2 left, 3 below, 4 right"""
    return nn.ReplicationPad2d((2, 4, 1, 3)), [normal(2, 2, 3, 2)]


@case("""
  input x: [2, 3, 4]
  upsample([2, 3], nearest)
  output y
""")
def upsample_nearest():
    """Upsample(scale_factor=(2, 3), mode="nearest")"""
    return nn.Upsample(scale_factor=(2, 3), mode="nearest"), [normal(2, 2, 3, 4)]


@case("""
  input x: [2, 3, 4]
  upsample(2, bilinear)
  output y
""")
def upsample_bilinear():
    """Upsample(scale_factor=2, mode="bilinear", align_corners=False)"""
    module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return module, [normal(2, 2, 3, 4)]


@case("""
  input x: [2, 3, 4]
  upsample(2, bilinear, corners = aligned)
  output y
""")
def upsample_bilinear_aligned():
    """Upsample(scale_factor=2, mode="bilinear", align_corners=True)"""
    module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return module, [normal(2, 2, 3, 4)]


@case("""
  input x: [2, 3, 4]
  upsample(2, bicubic)
  output y
""")
def upsample_bicubic():
    """Upsample(scale_factor=2, mode="bicubic", align_corners=False)"""
    module = nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False)
    return module, [normal(2, 2, 3, 4)]


@case("""
  input x: [2, 7, 4]
  upsample(size = [5, 9], mode = bicubic, corners = aligned)
  output y
""")
def upsample_bicubic_aligned():
    """Upsample(size=(5, 9), mode="bicubic", align_corners=True): fewer rows, more columns"""
    module = nn.Upsample(size=(5, 9), mode="bicubic", align_corners=True)
    return module, [normal(2, 2, 7, 4)]


@case("""
  input x: [2, 7, 4]
  upsample(size = [3, 9], mode = bicubic)
  output y
""")
def upsample_bicubic_to_size():
    """Upsample(size=(3, 9), mode="bicubic", align_corners=False): fewer rows, without antialiasing"""
    module = nn.Upsample(size=(3, 9), mode="bicubic", align_corners=False)
    return module, [normal(2, 2, 7, 4)]


@case("""
  input x: [2, 5, 9]
  maxpool(2)
  upsample(size = x, mode = bilinear)
  output y
""")
def upsample_to_size():
    """MaxPool2d(2), then bilinear interpolation back to the input's 5x9, align_corners=False"""

    def down_and_up(x):
        small = F.max_pool2d(x, 2)
        return F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)

    return Call(down_and_up), [normal(2, 2, 5, 9)]


@case("""
  input x: [3, 4, 5]
  permute(hwc)
  maxpool(2, stride = 1)
  permute(whc)
  output y
""")
def permute_axes():
    """permute(0, 2, 3, 1), a pooling, permute(0, 3, 2, 1)"""
    return Call(lambda x: F.max_pool2d(x.permute(0, 2, 3, 1), 2, 1).permute(0, 3, 2, 1)), [normal(2, 3, 4, 5)]


@case("""
  input x: [6, 2, 3]
  channel_shuffle(2)
  output y
""")
def channel_shuffle_groups():
    """ChannelShuffle(2)"""
    return nn.ChannelShuffle(2), [normal(2, 6, 2, 3)]


@case("""
  input x: [12, 2, 3]
  pixel_shuffle(2)
  output y
""")
def pixel_shuffle():
    """PixelShuffle(2)"""
    return nn.PixelShuffle(2), [normal(2, 12, 2, 3)]


@case("""
  input x: [12, 2, 3]
  pixel_shuffle(2, order = dcr)
  output y
""")
def pixel_shuffle_dcr():
    """reshape to [2, 2, 3, h, w], then the first two behind height and width: TensorFlow's depth_to_space"""

    def depth_to_space(x):
        n, _, h, w = x.shape
        return x.reshape(n, 2, 2, 3, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, 3, 2 * h, 2 * w)

    return Call(depth_to_space), [normal(2, 12, 2, 3)]


@case("""
  input x: [2, 6, 3]
  pixel_unshuffle(3)
  output y
""")
def pixel_unshuffle():
    """PixelUnshuffle(3)"""
    return nn.PixelUnshuffle(3), [normal(2, 2, 6, 3)]


@case("""
  input x: [3, 4, 6]
  pixel_unshuffle(2, order = dcr)
  output y
""")
def pixel_unshuffle_dcr():
    """reshape to [3, h/2, 2, w/2, 2], then the cells in front of the channels: TensorFlow's space_to_depth"""

    def space_to_depth(x):
        n, c, h, w = x.shape
        cells = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return cells.reshape(n, 4 * c, h // 2, w // 2)

    return Call(space_to_depth), [normal(2, 3, 4, 6)]


@case("""
  input x: [5, 2, 3]
  slice(1..3)
  output y
""")
def slice_channels():
    """x[:, 1:3]"""
    return Call(lambda x: x[:, 1:3]), [normal(2, 5, 2, 3)]


@case("""
  input a: [2, 3, 4]
  input b: [2, 3, 4]
  sub(a, b)
  concat(prev, a)
  output y
""")
def two_inputs():
    """torch.cat([a - b, a], dim=1)"""
    module = Call(lambda a, b: torch.cat([a - b, a], dim=1))
    return module, [normal(2, 2, 3, 4), normal(2, 2, 3, 4)]


@case("""
  input a: [2, 3, 4]
  input b: [2, 3, 4]
  div(a, b)
  output y
""")
def div():
    """a / b"""
    return Call(lambda a, b: a / b), [normal(2, 2, 3, 4), normal(2, 2, 3, 4).abs() + 0.5]


@case("""
  input a: [2, 3, 4]
  input b: [2, 1, 1]
  div(a, b)
  output y
""")
def div_channels():
    """a / b, b having a number for each channel"""
    return Call(lambda a, b: a / b), [normal(2, 2, 3, 4), normal(2, 2, 1, 1).abs() + 0.5]


@case("""
  input a: [2, 3, 4]
  input b: [2, 3, 4]
  input c: [2, 3, 4]
  least: minimum(b, c)
  maximum(a, b, least)
  output y
""")
def extrema():
    """torch.maximum(torch.maximum(a, b), torch.minimum(b, c))"""
    module = Call(lambda a, b, c: torch.maximum(torch.maximum(a, b), torch.minimum(b, c)))
    return module, [normal(2, 2, 3, 4) for _ in range(3)]


# ---- blocks of known nets, cut down -------------------------------------------------------------


@case("""
  input x: [4, 7, 6]
  add {
    {
      conv1: conv(6, 3, stride = 2, pad = 1, bias = false)
      bn1:   bn
      relu
      conv2: conv(6, 3, pad = 1, bias = false)
      bn2:   bn
    }
    downsample: sequential {
      conv(6, 1, stride = 2, bias = false)
      bn
    }
  }
  relu
  output y
""")
def resnet_block():
    """torchvision's resnet BasicBlock(4, 6, stride=2) with a 1x1 projection and batch norm"""
    downsample = nn.Sequential(nn.Conv2d(4, 6, 1, stride=2, bias=False), nn.BatchNorm2d(6))
    return BasicBlock(4, 6, stride=2, downsample=downsample), [normal(2, 4, 7, 6)]


@case("""
block conv_bn_relu(c, k, pad = 0) {
  conv: conv(c, k, pad = pad, bias = false)
  bn:   bn(eps = 0.001)
  relu
}

net inception_block {
  input x: [5, 6, 7]
  concat {
    branch1: conv_bn_relu(2, 1)
    branch2: sequential { conv_bn_relu(2, 1); conv_bn_relu(3, 3, pad = 1) }
    branch3: sequential { conv_bn_relu(3, 1); conv_bn_relu(2, 3, pad = 1) }
    branch4: sequential { maxpool(3, stride = 1, pad = 1, ceil = true); conv_bn_relu(3, 1) }
  }
  output y
}
""")
def inception_block():
    """torchvision's googlenet Inception(5, 2, 2, 3, 3, 2, 3)"""
    return Inception(5, 2, 2, 3, 3, 2, 3), [normal(2, 5, 6, 7)]


@case("""
block conv_bn_relu6(c, k, pad = 0, groups = 1) {
  0: conv(c, k, pad = pad, groups = groups, bias = false)
  1: bn
  relu6
}

net inverted_residual {
  input x: [3, 6, 5]
  add {
    conv: sequential {
      conv_bn_relu6(6, 1)
      conv_bn_relu6(6, 3, pad = 1, groups = 6)
      conv(3, 1, bias = false)
      bn
    }
    identity
  }
  output y
}
""")
def inverted_residual():
    """torchvision's mobilenet_v2 InvertedResidual(3, 3, stride=1, expand_ratio=2)"""
    return InvertedResidual(3, 3, stride=1, expand_ratio=2), [normal(2, 3, 6, 5, scale=3.0)]


@case("""
  input x: [6, 4, 3]
  mul {
    {
      avgpool(global)
      fc1: conv(2, 1)
      relu
      fc2: conv(6, 1)
      sigmoid
    }
    identity
  }
  output y
""")
def squeeze_excitation():
    """x * sigmoid(fc2(relu(fc1(AdaptiveAvgPool2d(1)(x))))), fc1 and fc2 being 1x1 convolutions"""

    class SqueezeExcitation(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Conv2d(6, 2, 1)
            self.fc2 = nn.Conv2d(2, 6, 1)

        def forward(self, x):
            scale = F.adaptive_avg_pool2d(x, 1)
            scale = F.relu(self.fc1(scale))
            return torch.sigmoid(self.fc2(scale)) * x

    return SqueezeExcitation(), [normal(2, 6, 4, 3)]


@case("""
  input image: [1, 32, 32]
  conv1: conv(2, 5)
  tanh
  avgpool(2)
  conv2: conv(3, 5)
  tanh
  avgpool(2)
  flatten
  fc1: linear(9)
  tanh
  fc2: linear(8)
  tanh
  fc3: linear(7)
  output logits
""")
def lenet5_small():
    """LeNet-5 as it is taught today (tanh, average pooling), with fewer channels and 7 classes"""
    module = named(
        conv1=nn.Conv2d(1, 2, 5),
        tanh1=nn.Tanh(),
        pool1=nn.AvgPool2d(2),
        conv2=nn.Conv2d(2, 3, 5),
        tanh2=nn.Tanh(),
        pool2=nn.AvgPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(75, 9),
        tanh3=nn.Tanh(),
        fc2=nn.Linear(9, 8),
        tanh4=nn.Tanh(),
        fc3=nn.Linear(8, 7),
    )
    return module, [normal(1, 1, 32, 32)]


# ---- writing ------------------------------------------------------------------------------------


def net_text(name, body):
    """The whole file: a body without blocks of its own stands inside `net NAME { ... }`."""
    return body.lstrip("\n") if body.startswith("\nblock") else f"net {name} {{{body}}}\n"


def write(name):
    build, body = CASES[name]
    torch.manual_seed(zlib.crc32(name.encode()))
    module, inputs = build()
    randomise_norms(module)
    with torch.no_grad():
        output = module.eval()(*inputs)

    tensors = dict(module.state_dict())
    if len(inputs) == 1:
        tensors["__input"] = inputs[0]
    else:
        tensors |= {f"__input.{i}": x for i, x in enumerate(inputs)}
    tensors["__output"] = output
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    metadata = {"case": build.__doc__}
    (TARGET / f"{name}.safetensors").write_bytes(save(tensors, metadata))
    (TARGET / f"{name}.net").write_text(net_text(name, body))


def main():
    parser = argparse.ArgumentParser(description="Write the PyTorch references in tests/reference/.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases to write (default: all)")
    names = parser.parse_args().cases or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")

    TARGET.mkdir(parents=True, exist_ok=True)
    for name in names:
        write(name)
    size = sum((TARGET / f"{name}.safetensors").stat().st_size for name in names)
    print(f"{len(names)} cases, {size:,} bytes of tensors")


if __name__ == "__main__":
    main()
