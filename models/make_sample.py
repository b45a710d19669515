"""Make the sample data from all of CIFAR-10 (see fetch_cifar10.py).

    python models/make_sample.py --data cifar10.npz --out models/cifar10_sample.npz

writes `images` (2000, 32, 32, 3) uint8, the first 2,000 test images, with `labels`; and `train_images`
(1024, 32, 32, 3) uint8, the first 1,024 training images, for calibration.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

TEST, TRAIN = 2000, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("cifar10.npz"))
    parser.add_argument("--out", type=Path, default=Path("models/cifar10_sample.npz"))
    args = parser.parse_args()
    with np.load(args.data) as arrays:
        sample = {
            "images": arrays["test_images"][:TEST],
            "labels": arrays["test_labels"][:TEST],
            "train_images": arrays["train_images"][:TRAIN],
        }
    np.savez_compressed(args.out, **sample)
    print(f"{args.out}: " + ", ".join(f"{name} {array.shape}" for name, array in sample.items()))


if __name__ == "__main__":
    main()
