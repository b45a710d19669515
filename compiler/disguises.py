"""What a file is that has the name of something else: told by its first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disguise:
    """What it is, and what to do about it."""

    what: str
    fix: str


BEGINNING = 512
PAGE = Disguise("an HTML page", "download the file itself")
FETCH = "fetch the file itself: git lfs pull"
NUMPY_ARRAY = Disguise("an array of numpy", "name it .npy, and give it as --data")
JSON = Disguise("a JSON file", "give the file itself")
TEXT = Disguise("a text file", "give the file itself")
ZIP = Disguise("a zip archive", "unpack it, or name it .npz if numpy wrote it")
BEGINNINGS = {
    b"version https://git-lfs": Disguise("a pointer of Git LFS", FETCH),
    b"<!doctype html": PAGE,
    b"<html": PAGE,
    b"<?xml": Disguise("an XML file", "download the file itself"),
    b"pk\x03\x04": ZIP,
    b"\x1f\x8b": Disguise("a gzip archive", "unpack it"),
    b"\x93numpy": NUMPY_ARRAY,
    b"\x89hdf": Disguise("an HDF5 file", "export the network to ONNX, or store arrays with numpy.savez"),
    b"\x80\x02": Disguise("a pickle", "export the network to ONNX, or store arrays with numpy.savez"),
    b"\x80\x04": Disguise("a pickle", "export the network to ONNX, or store arrays with numpy.savez"),
    b"{": JSON,
    b"%pdf": Disguise("a PDF file", "give the file itself"),
}
WHITE = b"\xef\xbb\xbf \t\r\n"


def disguised(path: Path) -> Disguise | None:
    """What a file is that could not be read as what its name says; None where the first bytes do not tell."""
    try:
        with path.open("rb") as file:
            head = file.read(BEGINNING)
    except OSError:
        return None
    if not head.strip(WHITE + b"\0"):
        return Disguise("an empty file" if not head else "a file of zeros", "copy or download it again")
    start = head.lstrip(WHITE).lower()
    found = next((found for key, found in BEGINNINGS.items() if start.startswith(key)), None)
    if found is None and _is_text(head):
        return TEXT
    return found


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)
