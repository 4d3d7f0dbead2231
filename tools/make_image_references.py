"""Write the image references in tests/reference/images/: small synthetic pictures and what Pillow
and torchvision make of them; also small arrays as NumPy saves them.

    python -m venv .venv && .venv/bin/pip install -r tools/requirements.txt
    .venv/bin/python tools/make_image_references.py

libjpeg-turbo's `cjpeg` writes the JPEGs that Pillow does not write (Debian: libjpeg-turbo-progs).

`source.png` is resized to `resize/FILTER_HxW.png`, and made grey in `gray.png`; `preprocess/NAME.npy`
are whole torchvision pipelines on it, `crops.npy` is its ten-crop. In `decode/`, each file in one of
the many forms of PNG and JPEG has its upright RGB pixels beside it in `NAME.expected.png`. `npy/TYPE_ORDER.npy` are the numbers
0 to 23 in the shape 2, 3, 4 (of booleans: whether odd). `photos.txt` has checksums
of photos that are not part of the project.
"""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision import transforms

TARGET = Path(__file__).resolve().parent.parent / "tests" / "reference" / "images"
PHOTOS = TARGET.parent.parent.parent / ".material" / "photos"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# Shrinking, growing, both, one axis alone, to a line, to a point.
SIZES = [(20, 31), (13, 19), (90, 97), (20, 97), (43, 20), (17, 61), (1, 61), (43, 1), (1, 1)]


def picture(height, width, channels=3, seed=0):
    """Slopes, hard edges, saturated corners and noise."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for channel in range(channels):
        plane = 255 * (x / width * (channel + 1) + y / height * (3 - channel)) / 4
        plane += 40 * np.sin(x * (0.3 + 0.2 * channel)) * np.cos(y * 0.4)
        plane[(x // 7 + y // 5 + channel) % 5 == 0] = 255 * (channel % 2)
        planes.append(plane + noise.normal(0, 12, plane.shape))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def resizes(source):
    for name, kernel in FILTERS.items():
        for height, width in SIZES:
            save(source.resize((width, height), kernel), TARGET / "resize" / f"{name}_{height}x{width}.png")


def pipelines(source):
    """torchvision's transforms on the PIL image; the tests build the same steps by these names."""
    tail = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    cubic = transforms.InterpolationMode.BICUBIC
    cases = {
        "short_crop": [transforms.Resize(30), transforms.CenterCrop(24), *tail],
        "short_crop_bicubic": [transforms.Resize(29, cubic), transforms.CenterCrop((24, 21)), *tail],
        "crop_larger": [transforms.Resize(20), transforms.CenterCrop((27, 25)), *tail],
        "exact_gray": [transforms.Grayscale(), transforms.Resize((16, 18)), transforms.ToTensor()],
        "pad": [transforms.Resize((10, 12)), transforms.Pad((1, 2, 3, 4), fill=7), *tail],
    }
    for name, steps in cases.items():
        write_npy(transforms.Compose(steps)(source), f"preprocess/{name}.npy")
    five = transforms.Compose([transforms.Resize(30), transforms.FiveCrop(24)])(source)
    ten = [*five, *(ImageOps.mirror(crop) for crop in five)]
    write_npy(torch.stack([transforms.Compose(tail)(crop) for crop in ten])[:, :1], "crops.npy")


def write_npy(tensor, name):
    path = TARGET / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, tensor.numpy())


def png(rows, depth, color, width, height, palette=None, transparency=None, interlaced=False):
    """A PNG from packed rows, for the forms that Pillow does not write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header)
    if palette is not None:
        chunks += chunk(b"PLTE", palette)
    if transparency is not None:
        chunks += chunk(b"tRNS", transparency)
    body = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND", b"")


def packed(values, depth):
    """Rows of samples of 1, 2, 4, 8 or 16 bits."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in values]
    bits = ((values[..., None] >> np.arange(depth)[::-1]) & 1).astype(np.uint8)
    return [np.packbits(row.reshape(-1)).tobytes() for row in bits]


def interlaced_rows(values):
    """The seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (values[top::down, left::right] for top, left, down, right in passes)
    return [row for part in parts if part.size for row in packed(part.reshape(len(part), -1), 8)]


def decode_pngs():
    height, width = 13, 19
    gray, rgb, rgba = (picture(height, width, channels, seed=9)[:, :, :] for channels in (1, 3, 4))
    noise = np.random.default_rng(5)
    for depth in (1, 2, 4, 8):
        rows = packed(gray[..., 0] >> (8 - depth), depth)
        decode_case(f"gray{depth}.png", png(rows, depth, 0, width, height))
        colors = noise.integers(0, 256, (1 << depth, 3), dtype=np.uint8).tobytes()
        decode_case(f"palette{depth}.png", png(rows, depth, 3, width, height, colors))
    rows = packed(gray[..., 0], 8)
    decode_case("palette_transparent.png", png(rows, 8, 3, width, height, colors, bytes(range(256))))
    decode_case("gray_transparent.png", png(rows, 8, 0, width, height, None, b"\0\xff"))

    def wide(array):
        return (array.astype(np.uint16) << 8 | noise.integers(0, 256, array.shape)).reshape(height, -1)

    # Pillow clips grey samples of 16 bits at 255; the high byte is what every other mode keeps.
    decode_case("gray16.png", png(packed(wide(gray), 16), 16, 0, width, height), Image.fromarray(gray[..., 0]))
    decode_case("rgb8.png", png(packed(rgb.reshape(height, -1), 8), 8, 2, width, height))
    decode_case("rgb16.png", png(packed(wide(rgb), 16), 16, 2, width, height))
    decode_case("rgba8.png", png(packed(rgba.reshape(height, -1), 8), 8, 6, width, height))
    decode_case("rgba16.png", png(packed(wide(rgba), 16), 16, 6, width, height))
    pair = rgba[..., [0, 3]]
    decode_case("gray_alpha8.png", png(packed(pair.reshape(height, -1), 8), 8, 4, width, height))
    decode_case("gray_alpha16.png", png(packed(wide(pair), 16), 16, 4, width, height))
    decode_case("interlaced.png", png(interlaced_rows(rgb), 8, 2, width, height, interlaced=True))


def decode_jpegs():
    rgb = Image.fromarray(picture(17, 26, seed=3))
    smooth = rgb.resize((26, 17), Image.Resampling.BILINEAR, (4, 4, 20, 12))
    forms = {
        "baseline_444": (smooth, {"subsampling": 0}),
        "baseline_422": (smooth, {"subsampling": 1}),
        "baseline_420": (smooth, {"subsampling": 2}),
        "progressive_420": (smooth, {"subsampling": 2, "progressive": True}),
        "restarts": (smooth, {"subsampling": 2, "restart_marker_blocks": 1}),
        "gray": (smooth.convert("L"), {}),
        "gray_progressive": (smooth.convert("L"), {"progressive": True}),
        "cmyk": (Image.fromarray(picture(17, 26, 4, seed=4), "CMYK").resize((26, 17), box=(4, 4, 9, 8)), {}),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        forms[f"orientation{orientation}"] = (smooth, {"subsampling": 0, "exif": exif})
    cjpeg = {
        "sampled_1x2": (smooth, ["-sample", "1x2"]),
        "sampled_4x1": (smooth, ["-sample", "4x1", "-progressive"]),
        "sampled_mixed": (smooth, ["-sample", "2x2,1x2,2x1", "-restart", "1"]),
        "sampled_chroma_finer": (smooth, ["-sample", "1x1,2x2,1x1"]),
        "rgb": (smooth, ["-rgb"]),
        "narrow": (smooth.crop((0, 0, 4, 9)), ["-sample", "2x2"]),
        "pixel": (smooth.crop((0, 0, 1, 1)), ["-sample", "2x2"]),
        "coarse": (rgb, ["-sample", "2x1", "-quality", "3"]),
    }
    for name, (image, options) in cjpeg.items():
        out = io.BytesIO()
        image.save(out, "PPM")
        run = subprocess.run(["cjpeg", *options], input=out.getvalue(), capture_output=True, check=True)
        decode_case(f"{name}.jpg", run.stdout)
    for name, (image, options) in forms.items():
        out = io.BytesIO()
        image.save(out, "JPEG", quality=90, **options)
        decode_case(f"{name}.jpg", out.getvalue())


def arrays():
    folder = TARGET / "npy"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(24).reshape(2, 3, 4)
    for kind in ["<f2", "<f4", ">f4", "<f8", "|u1", "|i1", "<u2", ">i2", "<u4", "<i4", "<u8", "<i8", ">f8"]:
        for order in "CF":
            name = f"{kind.strip('<|').replace('>', 'big_')}_{order}.npy"
            np.save(folder / name, np.array(numbers.astype(kind), order=order))
    np.save(folder / "b1_C.npy", numbers % 2 == 1)
    for version in [(2, 0), (3, 0)]:
        with open(folder / f"version{version[0]}_C.npy", "wb") as out:
            np.lib.format.write_array(out, numbers.astype("<f4"), version)


def photos():
    """Checksums of some of the photos that scripts/fetch-material fetches: their pixels, and their
    tensors after the usual preprocessing for ImageNet."""
    found = sorted(PHOTOS.glob("*.jpg"))
    if not found:
        print("no photos in .material/photos: photos.txt stays as it is; run scripts/fetch-material first")
        return
    usual = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    lines = []
    for path in found[::5]:
        image = Image.open(path).convert("RGB")
        checksums = zlib.crc32(image.tobytes()), zlib.crc32(usual(image).numpy().astype("<f4").tobytes())
        lines.append(f"{path.name} {image.height} {image.width} {checksums[0]:08x} {checksums[1]:08x}")
    (TARGET / "photos.txt").write_text("\n".join(lines) + "\n")


def decode_case(name, data, expected=None):
    path = TARGET / "decode" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if expected is None:
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    save(expected.convert("RGB"), path.parent / f"{name}.expected.png")


def main():
    source = Image.fromarray(picture(43, 61))
    save(source, TARGET / "source.png")
    save(source.convert("L"), TARGET / "gray.png")
    resizes(source)
    pipelines(source)
    decode_pngs()
    decode_jpegs()
    arrays()
    photos()


if __name__ == "__main__":
    main()
