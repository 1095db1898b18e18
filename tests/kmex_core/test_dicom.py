"""DICOM files written by pydicom, and TIFF files of several pages, as pictures."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.data import dicom, registry
from kmex_core.data.files import BESIDE
from kmex_core.data.pictures import read_header, read_picture
from kmex_core.data.report import report
from tests.helpers.pictures import encoded, saved

pytestmark = pytest.mark.usefixtures("store")
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def written(pixels: np.ndarray, kind: str = "MONOCHROME2", bits: int = 12, rle: bool = False, **tags: Any) -> bytes:
    """A DICOM file by pydicom."""
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID, made.PatientName = CTImageStorage, generate_uid(), "Secret^Patient"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = kind
    made.BitsAllocated, made.BitsStored, made.HighBit = pixels.itemsize * 8, bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.PixelData = pixels.tobytes()
    if rle:
        made.compress(RLELossless, pixels)
    for tag, value in tags.items():
        setattr(made, tag, value)
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_grey_is_shown_through_the_first_window_as_pydicom_does_it() -> None:
    pytest.importorskip("pydicom")
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    signed = (RAMP.astype(np.int16) - 2048).copy()
    tags: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": -100}
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        content = written(signed, WindowCenter=[40, 7], WindowWidth=[400, 9], VOILUTFunction=function, **tags)
        header = pydicom.dcmread(io.BytesIO(content))
        shown = apply_windowing(apply_modality_lut(header.pixel_array, header), header)
        low, high = -2048 * 2 - 100, 2047 * 2 - 100  # what pydicom spreads a window over
        expected = (shown - low) / (high - low) * 255
        picture = read_picture(content)
        assert np.abs(picture.pixels - expected).max() <= 0.5 + 1e-9  # rounded, halves either way
        inverted = written(signed, "MONOCHROME1", WindowCenter=40, WindowWidth=400, VOILUTFunction=function, **tags)
        np.testing.assert_array_equal(read_picture(inverted).pixels, 255 - picture.pixels)
    assert not any("Secret" in note for note in picture.notes)


@pytest.mark.parametrize("rle", [False, True])
def test_without_a_window_from_smallest_to_largest(rle: bool) -> None:
    content = written(RAMP[:32], rle=rle)
    np.testing.assert_array_equal(read_picture(content).pixels, np.round(RAMP[:32] / 2047 * 255))
    header = read_header(content)
    assert (header.shape, header.grey, header.format) == ((32, 64), True, "DICOM")


def test_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_picture(written(pixels, "RGB", 8)).pixels, pixels)
    ycc = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    assert np.abs(read_picture(written(ycc, "YBR_FULL", 8)).pixels.astype(int) - pixels).max() <= 3


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Rows": 60000, "Columns": 60000}, "60,000 × 60,000 pixels; the limit is 40 million"),
        ({"NumberOfFrames": 3}, "3 frames"),
        ({"BitsStored": 17}, "stores 17 of 16 bits"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "the colours PALETTE COLOR"),
        ({"WindowCenter": 1, "WindowWidth": 0}, "damaged"),
        ({"Rows": 65}, "damaged or truncated"),
    ],
)
def test_other_dicom_files_are_refused_in_words(tags: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_picture(written(RAMP, **tags), "'a.dcm'")


def test_cut_and_compressed_files_are_refused_in_words() -> None:
    content = written(RAMP)
    for end in (*range(140, 600), len(content) - 1):
        with pytest.raises(InputError):
            read_picture(content[:end], "'a.dcm'")
    for syntax in (b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.1.99"):  # JPEG 2000, deflated
        place = content.index(b"1.2.840.10008.1.2.1\0")
        length = len(syntax) + len(syntax) % 2
        other = content[: place - 2] + bytes([length, 0]) + syntax.ljust(length, b"\0") + content[place + 20 :]
        with pytest.raises(InputError, match=r"is compressed as .*; expected"):
            read_picture(other)


def test_without_pydicom_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "find_spec", lambda name: None if name == "pydicom" else find_spec(name))
    with pytest.raises(InputError, match="`pip install pydicom`"):
        read_picture(b"\0" * 128 + b"DICM" + b"\0" * 50, "'a.dcm'")


def test_a_folder_is_of_dicom_files_or_of_other_pictures(tmp_path: Path) -> None:
    root, content = tmp_path / "images", written(RAMP)
    for number in range(12):
        place = root / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.dcm").write_bytes(content[:-2] + bytes([number, 0]))
    alone = registry.load(DatasetSpec(str(root)))
    assert sum(map(len, alone.splits.values())) == 12
    for number in range(12):  # as before there was DICOM: it is left out, whether it could be read or not
        (root / "ab"[number % 2] / f"{number}.png").write_bytes(encoded(np.full((8, 8, 3), 20 * number, np.uint8)))
    mixed = registry.load(DatasetSpec(str(root)))
    assert sum(map(len, mixed.splits.values())) == 12
    assert [(each.reason, each.count) for each in mixed.left_out] == [(BESIDE, 12)]
    assert mixed.channels == 3


def test_the_first_page_of_a_tiff_is_used_and_the_others_are_counted(tmp_path: Path) -> None:
    deep = [np.full((8, 9), value, np.uint16) for value in (65535, 257, 514)]
    pages = [Image.fromarray(page) for page in deep]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    picture = read_picture(content)
    np.testing.assert_array_equal(picture.pixels, np.full((8, 9), 255))
    assert picture.notes[0] == "The file has 3 pages; only the first is used."
    for name in ("train/a/0", "train/a/1", "train/b/0", "test/a/0", "test/b/0"):
        place = tmp_path / f"{name}.tif"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if name == "train/a/0" else saved(pages[int(name[-1])], "TIFF"))
    of = report(DatasetSpec(str(tmp_path)))
    assert sum(of.images.values()) == 5
    assert (
        "1 of 5 images looked at is a TIFF file of several pages. The first page is used; 2 other pages are not."
        in (of.notes)
    )


def test_a_circle_of_pages_ends() -> None:
    page = Image.new("L", (2, 2))
    content = bytearray(saved(page, "TIFF"))
    first = int.from_bytes(content[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[end : end + 4] = content[4:8]
    assert read_header(bytes(content)).pages == 1
