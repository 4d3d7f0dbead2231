import argparse
import contextlib
#: if csv
import csv
#: end
#: if records
import gzip
#: end
import json
import math
import os
import re
import socket
import struct
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

import @module@ as net_module

HERE = Path(__file__).resolve().parent

@settings@


class Random:
    """The numbers that netc draws for a purpose: ChaCha with eight rounds, so that both learn from the same batches."""

    def __init__(self, purpose, *numbers):
        key = struct.pack("<3Q", *numbers) + purpose.encode()[:8].ljust(8, b"\0")
        self.key, self.block, self.ready = np.frombuffer(key, "<u4"), 0, []

    def draw(self, count=1):
        """Whole numbers of 64 bits."""
        blocks = max(0, -(-(count - len(self.ready)) // 8))
        if blocks:
            state = np.zeros((16, blocks), np.uint32)
            state[:4] = np.frombuffer(b"expand 32-byte k", "<u4")[:, None]
            state[4:12] = self.key[:, None]
            counter = np.arange(self.block, self.block + blocks, dtype=np.uint64)
            state[12], state[13] = counter & 0xFFFFFFFF, counter >> 32
            self.block += blocks
            x = state.copy()
            for _ in range(4):
                for shift in range(0, 4):  # columns
                    quarter(x, shift, 4 + shift, 8 + shift, 12 + shift)
                for shift in range(0, 4):  # diagonals
                    quarter(x, shift, 4 + (shift + 1) % 4, 8 + (shift + 2) % 4, 12 + (shift + 3) % 4)
            self.ready += np.frombuffer((x + state).T.astype("<u4").tobytes(), "<u8").tolist()
        taken, self.ready = self.ready[:count], self.ready[count:]
        return taken

    def below(self, count):
        return self.draw()[0] * count >> 64

    def between(self, low, high):
        return low + (high - low) * ((self.draw()[0] >> 11) / 2**53)

    def shuffled(self, items):
        items, numbers = list(items), self.draw(max(len(items) - 1, 0))
        for at, number in zip(range(len(items) - 1, 0, -1), numbers):
            other = number * (at + 1) >> 64
            items[at], items[other] = items[other], items[at]
        return items
#: if pca

    def normal(self):
        radius = math.sqrt(-2 * math.log(1 - self.between(0, 1)))
        return radius * math.cos(math.tau * self.between(0, 1))
#: end
#: if mixup

    def beta(self, alpha):
        while True:
            x, y = self.between(0, 1) ** (1 / alpha), self.between(0, 1) ** (1 / alpha)
            if 0 < x + y <= 1:
                return x / (x + y)
#: end


def quarter(x, a, b, c, d):
    for first, second, third, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[first] += x[second]
        x[third] ^= x[first]
        x[third] = x[third] << np.uint32(by) | x[third] >> np.uint32(32 - by)


#: if records
def unpacked(path):
    data = Path(path).read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


#: end
#: if idx
def open_idx(base, images, labels, classes):
    pixels, names = unpacked(base / images), unpacked(base / labels)
    count, height, width = struct.unpack(">3I", pixels[4:16])
    pixels = np.frombuffer(pixels, np.uint8, offset=16).reshape(count, height, width)
    labels = np.frombuffer(names, np.uint8, offset=8).astype(int).tolist()
    return [("grey", image) for image in pixels], labels, classes or numbered(labels)


#: end
#: if cifar
def open_cifar(base, files, labels, classes):
    skip, which = {"one": (1, 0), "coarse": (2, 0), "fine": (2, 1)}[labels]
    data = [np.frombuffer(unpacked(base / file), np.uint8).reshape(-1, skip + 3072) for file in files]
    data = np.concatenate(data)
    pixels = data[:, skip:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = data[:, which].astype(int).tolist()
    return [("rgb", image) for image in pixels], labels, classes or numbered(labels)


#: end
#: if folder
def open_folder(base, path):
    folders = sorted(entry for entry in (base / path).iterdir() if entry.is_dir() and entry.name[0] != ".")
    images, labels = [], []
    for label, folder in enumerate(folders):
        for image in sorted(folder.iterdir()):
            if image.name[0] != "." and image.suffix.lower() in (".jpg", ".jpeg", ".png"):
                images.append(("file", image))
                labels.append(label)
    return images, labels, [folder.name for folder in folders]


#: end
#: if csv
def open_csv(base, file, classes):
    with open(base / file, newline="", encoding="utf-8") as table:
        rows = [row for row in csv.reader(table) if row]
    rows = rows[1:] if rows[0] == ["path", "label"] else rows
    labels = [label.strip() for _, label in rows]
    if all(label.isdigit() for label in labels):
        labels = [int(label) for label in labels]
        classes = classes or numbered(labels)
    else:
        classes = classes or sorted(set(labels))
        labels = [classes.index(label) for label in labels]
    return [("file", (base / file).parent / path) for path, _ in rows], labels, classes


#: end
#: if numbered
def numbered(labels):
    return [str(label) for label in range(max(labels) + 1)]


#: end
OPEN = {@open@}


class Images:
    """A set of labelled images, or a part of one."""

    def __init__(self, images, labels, classes):
        self.images, self.labels, self.classes = images, labels, classes

    def part(self, picks):
        picks = sorted(picks)
        return Images([self.images[at] for at in picks], [self.labels[at] for at in picks], self.classes)
#: if by_class

    def by_class(self, seed):
        members = [[] for _ in self.classes]
        for at, label in enumerate(self.labels):
            members[label].append(at)
        return [Random("class", seed, label, 0).shuffled(of) for label, of in enumerate(members)]
#: end

    def image(self, at):
        kind, image = self.images[at]
        if kind == "file":
            with Image.open(image) as opened:
                return ImageOps.exif_transpose(opened).convert("RGB")
        return Image.fromarray(image).convert("RGB")


def open_sets(base):
    """What is learned from, what is held out, and what is only evaluated."""
    kind, *source = TRAIN
    train, held, test = Images(*OPEN[kind](base, *source)), None, None
#: if validation
    members = [(of, int(len(of) * VALIDATION)) for of in train.by_class(SEED)]
    held = train.part([at for of, cut in members for at in of[:cut]])
    train = train.part([at for of, cut in members for at in of[cut:]])
#: end
#: if per_class
    train = train.part([at for of in train.by_class(SEED) for at in of[:PER_CLASS]])
#: end
#: if test
    kind, *source = TEST
    test = Images(*OPEN[kind](base, *source))
    if test.classes != train.classes:
        raise SystemExit("the images that are learned from and those of the test have other classes")
#: end
    return train, held, test


#: if rotate
def rotated(pixels, angle):
    """The image turned around its middle; bilinear, black outside."""
    h, w = pixels.shape[:2]
    down, right = np.mgrid[:h, :w].astype(float)
    down, right = down - (h - 1) / 2, right - (w - 1) / 2
    row = (h - 1) / 2 + math.cos(angle) * down + math.sin(angle) * right
    column = (w - 1) / 2 + math.cos(angle) * right - math.sin(angle) * down
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    below, beside = (row - top)[..., None], (column - left)[..., None]

    def at(y, x):
        inside = (0 <= y) & (y < h) & (0 <= x) & (x < w)
        return np.where(inside[..., None], pixels[y.clip(0, h - 1), x.clip(0, w - 1)].astype(float), 0.0)

    upper = at(top, left) * (1 - beside) + at(top, left + 1) * beside
    lower = at(top + 1, left) * (1 - beside) + at(top + 1, left + 1) * beside
    return np.floor(upper * (1 - below) + lower * below + 0.5).astype(np.uint8)


#: end
#: if resized_crop
def random_part(image, random):
    """A part of random size and proportion, as the net takes it."""
    w, h = image.size
    for _ in range(10):
        area = w * h * random.between(*RESIZED_CROP["scale"])
        ratio = math.exp(random.between(*(math.log(ratio) for ratio in RESIZED_CROP["ratio"])))
        part_w, part_h = (math.floor(math.sqrt(side) + 0.5) for side in (area * ratio, area / ratio))
        if 0 < part_w <= w and 0 < part_h <= h:
            top, left = random.below(h - part_h + 1), random.below(w - part_w + 1)
            break
    else:
        ratio = min(max(w / h, RESIZED_CROP["ratio"][0]), RESIZED_CROP["ratio"][1])
        part_w = min(max(math.floor(h * ratio + 0.5), 1), w)
        part_h = min(max(math.floor(w / ratio + 0.5), 1), h)
        top, left = (h - part_h) // 2, (w - part_w) // 2
    return image.crop((left, top, left + part_w, top + part_h)).resize(SIZE[:0:-1], INTERPOLATION)


#: end
#: if middle
def middle(image, h, w):
    """The middle of an image, with black around it where it is too small."""
    down, right = max(h - image.height, 0), max(w - image.width, 0)
    if down or right:
        image = ImageOps.expand(image, (right // 2, down // 2, right - right // 2, down - down // 2))
    top, left = round((image.height - h) / 2), round((image.width - w) / 2)
    return image.crop((left, top, left + w, top + h))


#: end
#: if short
def short_side(image, to, interpolation):
    w, h = image.size
    long = max(w, h) * to // min(w, h)
    return image.resize((to, long) if w <= h else (long, to), interpolation)


#: end
class Pipeline:
    """From an image to the input of the net, with augmentation or without."""

    def __init__(self, mean, std, pca=None):
        self.mean, self.std, self.pca = mean, std, pca
        byte = (SCALE[0] + (SCALE[1] - SCALE[0]) * np.arange(256) / 255).astype(np.float32)
        of = lambda values, channel: np.float32(values[channel if len(values) > 1 else 0])
        tables = [(byte - of(mean or [0.0], c)) / of(std or [1.0], c) for c in range(SIZE[0])]
        self.tables = np.stack(tables).astype(np.float32)

    def plain(self, image):
@steps@
        return np.asarray(image).reshape(image.height, image.width, -1)

    def numbers(self, pixels, offsets=None):
        channels = []
        for channel in range(SIZE[0]):
            source = SIZE[0] - 1 - channel if ORDER == "bgr" else channel
            plane = self.tables[channel][pixels[..., source]]
            channels.append(plane if offsets is None else plane + np.float32(offsets[source]))
        if len(pixels) != SIZE[1] or pixels.shape[1] != SIZE[2]:
            raise SystemExit(f"an image becomes {pixels.shape[:2]}, but the net takes {SIZE[1:]}")
        return np.stack(channels)

    def changed(self, image, random):
#: if resized_crop
#: if gray
        image = image.convert("L")
#: end
        pixels = np.asarray(random_part(image, random)).reshape(SIZE[1], SIZE[2], -1)
#: else
        pixels = self.plain(image)
#: end
#: if rotate
        pixels = rotated(pixels, math.radians(random.between(-ROTATE, ROTATE)))
#: end
#: if crop
        down, right = random.below(2 * CROP + 1) - CROP, random.below(2 * CROP + 1) - CROP
#: end
#: if mirror
        mirrored = random.between(0, 1) < MIRROR
#: end
#: if crop
        h, w = pixels.shape[:2]
        padded = np.pad(pixels, ((CROP, CROP), (CROP, CROP), (0, 0)))
        pixels = padded[CROP + down :][:h, CROP + right :][:, :w]
#: end
#: if mirror
        pixels = pixels[:, ::-1] if mirrored else pixels
#: end
#: if offsets
        offsets = np.zeros(3)
#: end
#: if color_shift
        offsets += [random.between(-COLOR_SHIFT, COLOR_SHIFT) for _ in range(3)]
#: end
#: if pca
        values, vectors = self.pca
        for value, vector in zip(values, vectors):
            offsets += PCA * random.normal() * value * vector
#: end
#: if offsets
        ranges = self.tables[:, 255] - self.tables[:, 0]
        found = self.numbers(pixels, offsets * (ranges if len(ranges) == 3 else ranges[0]))
#: else
        found = self.numbers(pixels)
#: end
#: if cutout
        row, column = random.below(SIZE[1]), random.below(SIZE[2])
        rows = slice(max(row - CUTOUT // 2, 0), row + CUTOUT - CUTOUT // 2)
        found[:, rows, max(column - CUTOUT // 2, 0) : column + CUTOUT - CUTOUT // 2] = 0
#: end
        return found


#: if statistics
def statistics(images, rank, world, device):
    """Mean, deviation and principal components of the colours of a set, in parts of the range of a byte."""
    sums = torch.zeros(13, dtype=torch.float64, device=device)
    for at in range(rank, len(images.labels), world):
        pixels = np.asarray(images.image(at), np.float64).reshape(-1, 3)
        found = [[len(pixels)], pixels.sum(0), (pixels.T @ pixels).ravel()]
        sums += torch.from_numpy(np.concatenate(found)).to(device)
    dist.all_reduce(sums)
    sums = sums.cpu().numpy()
    mean = sums[1:4] / sums[0]
    covariance = (sums[4:].reshape(3, 3) / sums[0] - np.outer(mean, mean)) / 255**2
    values, vectors = np.linalg.eigh(covariance)
    deviation = np.sqrt(np.diag(covariance).clip(0))
    return mean / 255, deviation.clip(1e-3), (values[::-1].clip(0), vectors.T[::-1])


#: end
class Batches(torch.utils.data.Dataset):
    """What one process takes of each batch of an epoch: inputs, the probability of each class, labels."""

    def __init__(self, images, pipeline, epoch, first, rank, world):
        self.images, self.pipeline, self.epoch, self.first = images, pipeline, epoch, first
        self.order = Random("order", SEED, epoch, 0).shuffled(range(len(images.labels)))
        self.rank, self.world, count = rank, world, len(self.order)
        # A last batch with fewer samples would weigh them more; where there is no other it is taken.
        self.count = count // BATCH if BATCH <= count else 1

    def __len__(self):
        return self.count - self.first

    def __getitem__(self, number):
        number += self.first
        batch = self.order[number * BATCH : (number + 1) * BATCH]
        own = range(len(batch) * self.rank // self.world, len(batch) * (self.rank + 1) // self.world)
        labels = torch.tensor([self.images.labels[batch[at]] for at in own], dtype=torch.long)
        inputs, targets = np.zeros((len(own), *SIZE), np.float32), self.probabilities(labels)
        for to, at in enumerate(own):
            inputs[to] = self.input(batch[at])
#: if mixup
        if len(batch) > 1:
            # Each image is mixed with that at the other end of the batch.
            share = Random("mixup", SEED, self.epoch, number).beta(MIXUP)
            others = [batch[-1 - at] for at in own]
            for to, other in enumerate(others):
                inputs[to] = share * inputs[to] + (1 - share) * self.input(other)
            mixed = torch.tensor([self.images.labels[other] for other in others], dtype=torch.long)
            targets = share * targets + (1 - share) * self.probabilities(mixed)
#: end
        return torch.from_numpy(inputs), targets, labels, len(batch)

    def input(self, sample):
#: if augment
        return self.pipeline.changed(self.images.image(sample), Random("sample", SEED, self.epoch, sample))
#: else
        return self.pipeline.numbers(self.pipeline.plain(self.images.image(sample)))
#: end

    def probabilities(self, labels):
        classes = len(self.images.classes)
        return F.one_hot(labels, classes).float() * (1 - SMOOTHING) + SMOOTHING / classes


class Heads(nn.Module):
    """All outputs of the net, those of training too."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        outputs = @heads@
        return outputs if isinstance(outputs, tuple) else (outputs,)


def loss_of(outputs, targets):
    """The sum over samples of the losses of all outputs, each with its weight."""
#: if squared_error
    losses = [(output - targets).square().mean(1).sum() for output in outputs]
#: else
    losses = [-(targets * F.log_softmax(output, 1)).sum() for output in outputs]
#: end
    return sum(weight * loss for weight, loss in zip(HEADS, losses))


def meets(patterns, name):
    """Whether a name meets a pattern, in which * stands for anything and ? for one character."""
    escaped = (re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns)
    return any(re.fullmatch(pattern, name, re.S) for pattern in escaped)


def is_trained(name, epoch):
    thawed = any(first <= epoch and meets(paths, name) for first, paths in THAW)
    return not meets(FREEZE, name) or meets(UNFREEZE, name) or thawed


def rate_factor(name):
    return next((factor for paths, factor in reversed(RATES) if meets(paths, name)), 1.0)


def schedule(step, steps_per_epoch):
    """The factor of the learning rate at a step."""
    epoch = step / steps_per_epoch
    if epoch < WARMUP:
        return WARMUP_FROM + (1 - WARMUP_FROM) * epoch / WARMUP
#: if cosine
    done = min(max((epoch - WARMUP) / (EPOCHS - WARMUP), 0.0), 1.0) if EPOCHS > WARMUP else 1.0
    cosine = lambda start, end, done: end + (start - end) * (1 + math.cos(math.pi * done)) / 2
#: end
@schedule@


def train_mode(net, epoch):
    """Batch norms that are frozen keep their statistics."""
    net.train()
    for path, module in net.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            leaves = ("weight", "bias") if module.affine else ("running_mean", "running_var")
            module.train(any(is_trained(f"{path}.{leaf}", epoch) for leaf in leaves))


def optimiser_of(net):
    """Scales, shifts and biases have one axis; they decay only where the recipe says so."""
    groups = {}
    for name, parameter in net.named_parameters():
        decay = DECAY if DECAY_ALL or parameter.dim() > 1 else 0.0
        groups.setdefault((decay, rate_factor(name)), []).append(parameter)
    groups = [{"params": of, "weight_decay": decay, "factor": factor} for (decay, factor), of in groups.items()]
@optimiser@


def thaw(net, optimiser, epoch, step):
    """Trains what is trained in an epoch; moments of what is new begin at zero. Gives whether that is anything else."""
    changed = False
    for name, parameter in net.named_parameters():
        trained = is_trained(name, epoch)
        changed |= parameter.requires_grad != trained
        parameter.requires_grad_(trained)
        parameter.grad = None
#: if adam
        if trained and step and parameter not in optimiser.state:
            moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
            optimiser.state[parameter] = {"step": torch.tensor(float(step)), **moments}
#: end
    return changed


def evaluated(net, images, pipeline, rank, world, device):
    """Mean cross entropy and the share of right answers."""
    net.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    own = range(rank, len(images.labels), world)
    with torch.no_grad():
        for first in range(0, len(own), EVALUATION_BATCH):
            part = own[first : first + EVALUATION_BATCH]
            inputs = np.stack([pipeline.numbers(pipeline.plain(images.image(at))) for at in part])
            labels = torch.tensor([images.labels[at] for at in part], device=device)
            outputs = net(torch.from_numpy(inputs).to(device))
#: if softmax
            losses = -outputs.gather(1, labels[:, None]).clamp_min(1e-38).log()
#: else
            losses = F.cross_entropy(outputs.double(), labels, reduction="none")
#: end
            right = (outputs.argmax(1) == labels).double()
            sums += torch.stack([losses.double().sum(), right.sum(), sums.new_tensor(float(len(part)))])
    dist.all_reduce(sums)
    return {"loss": (sums[0] / sums[2]).item(), "top1": (sums[1] / sums[2]).item(), "count": int(sums[2])}


def replaced(path, write):
    """Writes a file aside and renames it: it is whole or untouched."""
    aside = path.with_name(path.name + ".part")
    write(aside)
    os.replace(aside, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE / DATA, help="where the paths of images start from")
    parser.add_argument("--folder", type=Path, default=HERE / FOLDER, help="where results go")
    parser.add_argument("--weights", type=Path, default=HERE / START, help="the weights to begin with")
    parser.add_argument("--resume", action="store_true", help="go on from the state in the folder")
    parser.add_argument("--device", help="cpu or cuda [default: cuda where there is one]")
    options = parser.parse_args()
    if "RANK" not in os.environ:  # without torchrun
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="localhost", MASTER_PORT=port)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if THREADS:
        torch.set_num_threads(THREADS)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        run(options, dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def run(options, rank, world, device):
    say = print if rank == 0 else (lambda *_, **__: None)
    train, held, test = open_sets(options.data)
    if min(BATCH, len(train.labels)) < world * ACCUMULATE:
        raise SystemExit(f"a batch of {BATCH}, and {len(train.labels)} images, are too few for {world} processes")
    if len(train.classes) != CLASSES:
        raise SystemExit(f"the images have {len(train.classes)} classes, but the net gives {CLASSES}")
#: if statistics
    mean, std, pca = statistics(train, rank, world, device)
#: end
    pipeline = @pipeline@
    folder, state_file = options.folder, options.folder / "state.pt"
    folder.mkdir(parents=True, exist_ok=True)
    if state_file.exists() and not options.resume:
        raise SystemExit(f"there is a run in {folder} already: add --resume, or name another --folder")
    net = net_module.@class@()
    net_module.fill(net, load_file(options.weights))
    net.to(device)
    if device.type == "cuda" and world > 1:
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    optimiser = optimiser_of(net)
    average = {name: parameter.detach().clone() for name, parameter in net.named_parameters()} if AVERAGE else {}
    at = {"epoch": 1, "batch": 0, "step": 0, "best": None, "loss": 0.0, "right": 0, "seen": 0, "seconds": 0.0}
    at["records"] = []
    if options.resume:
        state = torch.load(state_file, map_location=device)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        average, at = state["average"], state["at"]
    metadata = {"net": NET, "classes": json.dumps(train.classes, ensure_ascii=False)}
    metadata.update(mean=json.dumps(list(map(float, pipeline.mean))), std=json.dumps(list(map(float, pipeline.std))))

    def save(name, tensors):
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        replaced(folder / name, lambda path: save_file(tensors, path, metadata))

    def save_state():
        if rank == 0:
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "average": average, "at": at}
            replaced(state_file, lambda path: torch.save(state, path))

    parallel, saved = None, time.monotonic()
    while at["epoch"] <= EPOCHS:
        epoch = at["epoch"]
        if thaw(net, optimiser, epoch, at["step"]) or parallel is None:
            parallel = nn.parallel.DistributedDataParallel(Heads(net), find_unused_parameters=UNUSED)
        train_mode(net, epoch)
        batches = Batches(train, pipeline, epoch, at["batch"], rank, world)
        ahead = {"prefetch_factor": AHEAD} if WORKERS else {}
        loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=WORKERS, **ahead)
        begun = time.monotonic()
        for inputs, targets, labels, count in loader:
            rate = RATE * schedule(at["step"], batches.count)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            # What is dropped depends on the seed, the step and the process.
            torch.manual_seed((SEED * 1000003 + at["step"]) * 1009 + rank)
            sums = torch.zeros(2, dtype=torch.float64, device=device)
            parts = [range(p * len(labels) // ACCUMULATE, (p + 1) * len(labels) // ACCUMULATE) for p in range(ACCUMULATE)]
            for part in parts:
                with contextlib.nullcontext() if part is parts[-1] else parallel.no_sync():
                    span = slice(part.start, part.stop)
                    outputs = parallel(inputs[span].to(device))
                    loss = loss_of(outputs, targets[span].to(device)) / count
                    # The mean over processes is the mean over the batch, however it is dealt out.
                    (loss * world).backward()
                    right = (outputs[MAIN].argmax(1).cpu() == labels[span]).sum()
                    sums += torch.stack([loss.detach().double(), right.double().to(device)])
            dist.all_reduce(sums)
            loss = sums[0].item()
            if not loss < 1e4:
                raise SystemExit(f"the loss is {loss} at step {at['step']}: lower the learning rate from {rate:.3g}")
#: if clip
            nn.utils.clip_grad_norm_([p for p in net.parameters() if p.grad is not None], CLIP)
#: end
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            for name, parameter in net.named_parameters() if AVERAGE else ():
                if parameter.requires_grad:
                    average[name].mul_(AVERAGE).add_(parameter.detach(), alpha=1 - AVERAGE)
            at["step"], at["batch"] = at["step"] + 1, at["batch"] + 1
            at["loss"], at["right"] = at["loss"] + loss * count, at["right"] + int(sums[1].item())
            at["seen"] = at["seen"] + count
            if at["batch"] % 10 == 0 or at["batch"] == batches.count:
                mean_loss, accuracy = at["loss"] / at["seen"], at["right"] / at["seen"]
                place = f"epoch {epoch}/{EPOCHS}  batch {at['batch']}/{batches.count}"
                say(f"{place}  loss {mean_loss:.4f}  accuracy {accuracy:.2%}  rate {rate:.3g}", flush=True)
            now = time.monotonic()
            if now - saved > SAVE_SECONDS and at["batch"] < batches.count:
                at["seconds"], begun = at["seconds"] + now - begun, now
                save_state()
                saved = time.monotonic()
        at["seconds"] += time.monotonic() - begun
        record = {"epoch": epoch, "step": at["step"], "loss": at["loss"] / at["seen"]}
        record.update(accuracy=at["right"] / at["seen"], rate=rate, seconds=at["seconds"])
        record["images_per_second"] = at["seen"] / at["seconds"]
        own = {name: parameter.detach().clone() for name, parameter in net.named_parameters()} if AVERAGE else {}
        for name, parameter in net.named_parameters() if AVERAGE else ():
            parameter.data.copy_(average[name])
        if epoch == EPOCHS or (EVALUATE_EVERY and epoch % EVALUATE_EVERY == 0):
            sets = {"validation": held, "test": test}
#: if evaluate_train
            members = train.by_class(SEED)
            each = -(-EVALUATE_TRAIN // len(train.classes))
            sets["train"] = train.part([pick for of in members for pick in of[:each]])
#: end
            for name, images in sets.items():
                if images is not None:
                    record[name] = evaluated(net, images, pipeline, rank, world, device)
        found = record.get("validation", record.get("test"))
        if rank == 0:
            save("last.safetensors", net.state_dict())
            if found and (at["best"] is None or at["best"] < found["top1"]):
                save("best.safetensors", net.state_dict())
        if found:
            at["best"] = max(at["best"] or 0.0, found["top1"])
        for name, parameter in net.named_parameters() if AVERAGE else ():
            parameter.data.copy_(own[name])
        at["records"].append(record)
        if rank == 0:
            lines = "".join(json.dumps(line) + "\n" for line in at["records"])
            replaced(folder / "metrics.jsonl", lambda path: path.write_text(lines))
        figures = "  ".join(f"{name} {record[name]['top1']:.2%}" for name in ("train", "validation", "test") if name in record)
        say(f"epoch {epoch}/{EPOCHS}  loss {record['loss']:.6f}  {figures}".rstrip(), flush=True)
        at.update(epoch=epoch + 1, batch=0, loss=0.0, right=0, seen=0, seconds=0.0)
        save_state()


if __name__ == "__main__":
    main()
