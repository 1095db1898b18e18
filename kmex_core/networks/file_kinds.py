"""Kinds of files by content: those of other frameworks, each with advice."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

SAVED = "`torch.save(model.state_dict(), 'weights.pt')`"
LOOKED_AT = 4096
MOST_DIRECTORY = 8 * 2**20  # bytes of a zip's directory: 80,000 entries
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"

_NOT_PYTORCH = (
    "Only PyTorch weights can be imported: rebuild the network in PyTorch, copy its weights, and save them with "
    f"{SAVED}."
)
_UNPACK = "Unpack it, and import the file inside."
# signatures: (offset, bytes, kind of file, advice)
SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself",
     "Fetch the file with `git lfs pull`, and import that."),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras .h5, or MATLAB)", _NOT_PYTORCH),
    (0, b"GGUF", "a GGUF file (llama.cpp)", _NOT_PYTORCH),
    (0, b"\x93NUMPY", "a NumPy array (.npy)", f"A network has many: save its state dict with {SAVED}."),
    (4, b"TFL3", "a TensorFlow Lite model", _NOT_PYTORCH),
    (4, b"ET12", "an ExecuTorch program (.pte)", "Go back to the PyTorch model it was made of, and save its weights "
     f"with {SAVED}."),
    (257, b"ustar", "a tar archive", _UNPACK + " A PyTorch checkpoint of before 2017 is a tar archive, too: load it in "
     f"Python, and save it again with {SAVED}."),
    (0, b"\x1f\x8b", "compressed (gzip)", _UNPACK),
    (0, b"BZh", "compressed (bzip2)", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed (xz)", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed (zstd)", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", "Open pictures on the page Explain, or with `explain --image`."),
    (0, b"\xff\xd8\xff", "a JPEG picture", "Open pictures on the page Explain, or with `explain --image`."),
    (0, b"GIF8", "a GIF picture", "Open pictures on the page Explain, or with `explain --image`."),
    (8, b"WEBP", "a WebP picture", "Open pictures on the page Explain, or with `explain --image`."),
    (0, b"%PDF", "a PDF document", "Choose the file with the network's weights."),
    (0, b"PAR1", "a Parquet file", "Data sets are given by their folder (--dataset)."),
    (0, b"ARROW1", "an Arrow file", "Data sets are given by their folder (--dataset)."),
    (0, b"\x7fELF", "a program or library", "Choose the file with the network's weights."),
    (0, b"MZ", "a program or library", "Choose the file with the network's weights."),
    (0, b"\x80\x04\x95", "", ""),  # a pickle: judged by its content
)  # fmt: skip
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
WEIGHTS = (".pt", ".pth", ".safetensors", ".bin", ".ckpt")


def foreign(path: Path) -> str | None:
    """The reason why a file cannot be read as PyTorch weights, with advice; None if it may contain some.

    Reads the beginning of the file, and the directory of a zip archive unless it is larger than any checkpoint's.

    Raises:
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    if not start:
        return "is empty. Was the download or copy interrupted?"
    for offset, signature, kind, advice in SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return f"is {kind}. {advice}" if kind else None
    if not start.strip(b"\0"):
        return "contains only zeros. Was the download or copy interrupted?"
    if start[:2] == b"PK":
        return _zip(path)
    if start[8:9] == b"{" and b"\0" in start[:8]:  # safetensors: the length of its header comes first
        return None
    if start[:1] == b"\x80" or start[:2] in (b"(d", b"}q", b"cc"):
        return _pickle(path)
    if _is_onnx(start):
        return (
            "is an ONNX or another protobuf file (TensorFlow's saved_model.pb), not PyTorch weights. Give an ONNX "
            "network as `onnx:FILE` in place of the backbone. Rebuild any other in PyTorch, copy its weights, and save "
            f"them with {SAVED}."
        )
    return _text(start)


def _text(start: bytes) -> str | None:
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head[:200].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page, not the file. Download the file itself (often the link 'raw' or 'download')."
    if lower.startswith((b"<?xml", b"<")):
        return "is an XML file, such as OpenVINO's or the error page of a download. Choose the file with the weights."
    if head[:1] in (b"{", b"["):
        return "is a JSON file, such as a configuration. Choose the file with the weights."
    if not start.isascii() or any(byte < 32 and byte not in b"\t\n\r\f" for byte in start):
        return None
    return "is a text file. Choose the file with the network's weights."


def _is_onnx(start: bytes) -> bool:
    """ONNX begins with ir_version (field 1, 1 to 99), then the producer's name or a message; saved_model.pb alike."""
    return (
        len(start) > 3
        and start[0] == 0x08
        and 0 < start[1] < 100
        and start[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    )


def directory(path: Path) -> zipfile.ZipFile:
    """A zip archive with its directory read, unless that is larger than any checkpoint's.

    Raises:
        zipfile.BadZipFile: when it is damaged, cut off, or its directory is too large.
        OSError: when the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 66_000))
        tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < 22:
        raise zipfile.BadZipFile("its end is missing")
    length = struct.unpack("<L", tail[place + 12 : place + 16])[0]
    wide = tail.rfind(_END64)
    if wide >= 0 and len(tail) - wide >= 56:
        length = max(length if length != 0xFFFFFFFF else 0, struct.unpack("<Q", tail[wide + 40 : wide + 48])[0])
    if length > MOST_DIRECTORY:
        raise zipfile.BadZipFile(f"its directory has {length / 2**20:.0f} MiB")
    return zipfile.ZipFile(path)


def _zip(path: Path) -> str | None:
    try:
        with directory(path) as archive:
            names = [info.filename for info in archive.infolist()]
            first = names[0] if names else ""
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeDecodeError, EOFError) as error:
        return (
            f"is damaged or truncated: it begins like a torch.save checkpoint, but {error}. Download or copy it again."
        )
    ends = [name.rpartition("/")[2] for name in names]
    lower = [name.lower() for name in names]
    if "constants.pkl" in ends or any("/code/" in name for name in names):
        return (
            "is a TorchScript program (torch.jit.save), which is code. If you trust it, load it in Python with "
            "`torch.jit.load`, and save the weights alone: `torch.save(module.state_dict(), 'weights.pt')`."
        )
    if (
        any(
            name.startswith("serialized_exported_program") or "/models/" in name or "archive_format" in name
            for name in names
        )
        and "data.pkl" not in ends
    ):
        return (
            "is an exported program (torch.export, .pt2): a network, not weights alone. Give it as `export:FILE.pt2` "
            "in place of the backbone; its graph is read without running code of the file."
        )
    if "model.weights.h5" in ends or ("config.json" in ends and "metadata.json" in ends):
        return f"is a Keras model (.keras). {_NOT_PYTORCH}"
    if "data.pkl" in ends:
        return None
    if any(name.endswith("saved_model.pb") for name in lower):
        return f"is a TensorFlow SavedModel in a zip archive. {_NOT_PYTORCH}"
    if any("com.apple.coreml" in name or name.endswith(".mlmodel") for name in lower):
        return f"is a Core ML package. {_NOT_PYTORCH}"
    if names and all(name.endswith(".npy") for name in names):
        return (
            "is an archive of NumPy arrays (.npz). In Python, turn it into a state dict of tensors, and save that: "
            "`torch.save({name: torch.from_numpy(array) for name, array in numpy.load(file).items()}, 'weights.pt')`."
        )
    if inside := next((name for name in names if name.lower().endswith(WEIGHTS)), ""):
        return f"is a zip archive with weights inside ({inside[:80]}). {_UNPACK}"
    if any(name.endswith(PICTURES) for name in lower):
        return "is a zip archive of pictures. Unpack it, and pass the folder as a data set (--dataset)."
    if "[Content_Types].xml" in names:
        return "is an office document. Choose the file with the network's weights."
    return f"is a zip archive without weights of torch.save (it begins with '{first[:80]}'). {_UNPACK}"


def _pickle(path: Path) -> str | None:
    """The advice for a pickle of other libraries' objects, recognised as text; nothing is run."""
    with path.open("rb") as file:
        start = file.read(LOOKED_AT * 16)
    for mark, kind, advice in (
        (b"joblib", "an object of joblib, pickled", _NOT_PYTORCH),
        (b"sklearn", "a scikit-learn model, pickled", _NOT_PYTORCH),
        (b"xgboost", "an XGBoost model, pickled", _NOT_PYTORCH),
        (b"lightgbm", "a LightGBM model, pickled", _NOT_PYTORCH),
        (b"tensorflow", "a TensorFlow object, pickled", _NOT_PYTORCH),
        (b"keras", "a Keras object, pickled", _NOT_PYTORCH),
        (b"jax", "a JAX or Flax object, pickled", _NOT_PYTORCH),
        (b"pandas", "a pandas table, pickled", "Choose the file with the network's weights."),
    ):
        if mark in start and b"torch" not in start:
            return f"is {kind}. Reading it could run arbitrary code, so it is refused. {advice}"
    if b"torch" not in start and (b"numpy" in start and b"_reconstruct" in start):
        return (
            "is a pickle of NumPy arrays. Reading it could run arbitrary code, so it is refused. If you trust it, "
            "convert it "
            f"into a state dict of tensors in Python, and save that with {SAVED}."
        )
    return None


def safetensors_header(path: Path, most: int) -> dict[str, object] | None:
    """The header of a safetensors file without its tensors; None when there is none of at most `most` bytes."""
    with path.open("rb") as file:
        length = file.read(8)
        if len(length) < 8 or not 2 <= (size := struct.unpack("<Q", length)[0]) <= most:
            return None
        text = file.read(size)
    try:
        header = json.load(io.BytesIO(text))
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None
