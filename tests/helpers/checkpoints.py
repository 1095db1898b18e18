"""Files of other frameworks and of none, and what is said of each."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def saved(write: Callable[[io.BytesIO], Any]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "TorchScript": (lambda: saved(lambda b: torch.jit.save(torch.jit.script(nn.Linear(2, 2)), b)), "TorchScript"),
    "torch.export": (lambda: saved(lambda b: torch.export.save(
        torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), b)), r"exported program.*`export:FILE\.pt2`"),
    "ONNX": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x032.0:\xf0\x01" + bytes(200), "ONNX.*`onnx:FILE`"),
    "saved_model.pb": (lambda: b"\x08\x01\x12\xd2\x04\x0a" + bytes(100), "TensorFlow"),
    "SavedModel in a zip": (lambda: packed({"m/saved_model.pb": b"x", "m/variables/x": b""}), "SavedModel"),
    ".keras": (lambda: packed({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""}), "Keras"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "TFLite": (lambda: b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite"),
    "GGUF": (lambda: b"GGUF\x03\x00\x00\x00" + bytes(100), "GGUF"),
    ".npy": (lambda: saved(lambda b: np.save(b, np.ones(3))), r"\.npy"),
    ".npz": (lambda: saved(lambda b: np.savez(b, a=np.ones(3))), r"\.npz"),
    "joblib": (lambda: pickle.dumps({"x": 1}, 2).replace(b"x", b"joblib.numpy_pickle"), "joblib"),
    "sklearn": (lambda: b"\x80\x03csklearn.linear_model._logistic\nLogisticRegression\nq\x00.", "scikit-learn"),
    "Core ML": (lambda: packed({"m.mlpackage/Data/com.apple.CoreML/model.mlmodel": b"x"}), "Core ML"),
    "pictures": (lambda: packed({"a/1.jpg": b"x", "a/2.jpg": b"y"}), "zip archive of pictures"),
    "web page": (lambda: b"<!DOCTYPE html><html><head>" + b" " * 100, "web page"),
    "Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n", "git lfs pull"),
    "gzip": (lambda: b"\x1f\x8b\x08\x00" + bytes(100), "gzip"),
    "tar": (lambda: tarred("w.pt", b"x" * 600), "tar archive"),
    "zip of a checkpoint": (lambda: packed({"run/best.pt": b"x"}), r"weights inside \(run/best.pt\)"),
    "xz": (lambda: b"\xfd7zXZ\x00" + bytes(100), "xz"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(100), "zstd"),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG picture"),
    "PDF": (lambda: b"%PDF-1.7" + bytes(100), "PDF"),
    "JSON": (lambda: b'{"model_type": "vit", "hidden_size": 192}', "JSON"),
    "XML": (lambda: b'<?xml version="1.0"?><net name="x"/>' + b" " * 90, "XML"),
    "empty": (lambda: b"", "empty"),
    "zeros": (lambda: bytes(5000), "zeros"),
    "a single tensor": (lambda: saved(lambda b: torch.save(torch.ones(3), b)), "single tensor"),
}  # fmt: skip
