"""DICOM pictures, read with the optional package pydicom; only what describes pixels is taken from their headers."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import IO, Any, BinaryIO, cast

import numpy as np
from PIL import Image

from kmex_core.base.errors import InputError

INSTALL = (
    "is a DICOM file, which needs the package pydicom: `pip install pydicom`, or `pip install 'kmex-explorer[dicom]'`"
)
PREAMBLE = 128  # bytes before the mark
MARK = b"DICM"
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422")
# Implicit and Explicit VR Little Endian, Explicit VR Big Endian, RLE: what pydicom decodes itself. A deflated file
# would be inflated before its size is known, and a JPEG inside may be larger than its header says.
DECODED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5")
# no tag that says who or where the patient is
TAGS = [
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PlanarConfiguration", "RescaleSlope", "RescaleIntercept", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "ModalityLUTSequence",
]  # fmt: skip


SUFFIXES = ("dcm", "dicom")


def is_dicom(file: IO[bytes]) -> bool:
    """Whether a file is DICOM, by its mark (PS3.10, section 7.1)."""
    file.seek(PREAMBLE)
    return file.read(len(MARK)) == MARK


class DicomPicture(Image.Image):
    """A DICOM file as a picture of Pillow's, of mode L or RGB; its pixels are decoded by `load`.

    Grey values are rescaled, then shown through the first window of the file (PS3.3, C.11.2), or from the smallest to
    the largest value where it has none; MONOCHROME1 is inverted.

    Args:
        file: open, and read again by `load`.
        name: its name in messages.

    Attributes:
        notes: changes made while decoding, complete after `load`.

    Raises:
        InputError: when pydicom is missing, or the file holds something other than one picture of `GREY` or `COLOUR`
            that pydicom decodes itself.
    """

    format = "DICOM"

    def __init__(self, file: IO[bytes], name: str) -> None:
        super().__init__()
        if find_spec("pydicom") is None:
            raise InputError(f"{name} {INSTALL}.")
        self.notes: list[str] = []
        self._file, self._name, self._decoded = file, name, False
        self._header = header = _header(file, name)
        self._size = (int(header.Columns), int(header.Rows))
        self._mode = "L" if header.PhotometricInterpretation in GREY else "RGB"

    def load(self) -> Any:
        """Decode the pixels once; see `Image.load`."""
        if not self._decoded:
            from pydicom.pixels.utils import pixel_array

            self._file.seek(0)
            with _parsing():
                stored = pixel_array(cast(BinaryIO, self._file))  # YBR becomes RGB
                shown = self._grey(stored) if self.mode == "L" else stored
            self.im = Image.fromarray(shown).im
            self._decoded = True
        return super().load()

    def _grey(self, stored: np.ndarray) -> np.ndarray:
        """(H, W) integers as stored to (H, W) uint8."""
        header, bits = self._header, int(self._header.BitsStored)
        # the bits above may hold overlays
        codes = stored.view(f"u{stored.itemsize}") & (2**bits - 1)
        values = np.arange(2**bits)
        if header.PixelRepresentation == 1:  # two's complement
            values = (values ^ 2 ** (bits - 1)) - 2 ** (bits - 1)
        rescaled = values * float(header.get("RescaleSlope", 1)) + float(header.get("RescaleIntercept", 0))
        centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
        if centre is None or width is None:
            present = rescaled[np.bincount(codes.ravel(), minlength=2**bits) > 0]
            low, high = present.min(), present.max()
            shown = (rescaled - low) / max(high - low, 1e-9)
            self.notes.append("The file has no window: its smallest value is black, its largest white.")
        else:
            shown = _windowed(rescaled, centre, width, str(header.get("VOILUTFunction", "LINEAR")))
            self.notes.append(f"Shown through the file's window: centre {centre:g}, width {width:g}.")
        if not np.isfinite(shown).all():
            raise ValueError("its rescaling or window is not finite")
        table = np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8)
        return (255 - table if header.PhotometricInterpretation == "MONOCHROME1" else table)[codes]


@contextlib.contextmanager
def _parsing() -> Iterator[None]:
    """Let no warning or error of pydicom's through: they quote header values, and are of many types."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except InputError:
        raise
    except Exception as error:
        raise ValueError(f"in its DICOM data: {type(error).__name__}") from None


def _header(file: IO[bytes], name: str) -> Any:
    import pydicom
    from pydicom.filereader import read_dataset

    file.seek(PREAMBLE + len(MARK))
    with _parsing():
        meta = read_dataset(cast(BinaryIO, file), False, True, stop_when=lambda tag, *_: tag.group != 2)
        syntax = meta.get("TransferSyntaxUID")
        if syntax not in DECODED:
            kind = getattr(syntax, "name", "an unknown transfer syntax")
            raise InputError(f"{name} is compressed as {kind}; expected a DICOM file without compression, or with RLE.")
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        header.decode()  # now: a value is parsed when it is read, and that may fail
        if any(header.get(tag) is None for tag in ("Rows", "Columns", "PhotometricInterpretation", "BitsAllocated")):
            raise InputError(f"{name} is a DICOM file without a picture.")
        frames = int(header.get("NumberOfFrames") or 1)
    kind, bits, stored = header.PhotometricInterpretation, header.BitsAllocated, header.get("BitsStored", 0)
    if frames > 1:
        raise InputError(f"{name} has {frames:,} frames. Save the one you want as a separate file.")
    if kind not in (*GREY, *COLOUR):
        raise InputError(f"{name} has the colours {kind}; expected one of {', '.join((*GREY, *COLOUR))}.")
    if kind in GREY and not (bits in (8, 16) and 1 <= stored <= bits and header.get("HighBit") == stored - 1):
        raise InputError(f"{name} stores {stored} of {bits} bits; expected the lower bits of 8 or 16.")
    if kind in COLOUR and bits != 8:
        raise InputError(f"{name} has colours of {bits} bits; expected 8.")
    if "ModalityLUTSequence" in header:
        raise InputError(f"{name} has a modality lookup table; expected a rescale slope and intercept, or none.")
    return header


def _first(value: Any) -> float | None:
    """The first of a header's one or several numbers; None without any."""
    values = [value] if isinstance(value, int | float) else list(value or ())
    return float(values[0]) if values else None


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Values through a window, 0 (black) to 1 (white) inside it (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID" and width > 0:
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT" and width > 0:
        return (values - centre) / width + 0.5
    if function != "LINEAR" or width < 1:
        raise ValueError(f"a window {function} of width {width:g}")
    if width == 1:
        return (values > centre - 0.5).astype(float)
    return (values - (centre - 0.5)) / (width - 1) + 0.5
