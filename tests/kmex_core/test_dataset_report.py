"""The report of a data set: counts against what was written, for every layout and in text and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.commands import app
from kmex_core.data.report import THUMBNAILS, report
from tests.helpers.datasets import close_datasets
from tests.helpers.layouts import load, picture, pixels, write
from tests.helpers.pictures import encoded, saved

pytestmark = pytest.mark.usefixtures("store")


def pets(root: Path) -> Path:
    """12 cats and 3 dogs to train, 4 and 2 to test, of odd sizes and modes, with copies and damage."""
    files = [f"train/cat/{at}.png" for at in range(12)] + [f"train/dog/{at}.png" for at in range(3)]
    write(root, [*files, *(f"test/cat/{at}.png" for at in range(4)), *(f"test/dog/{at}.png" for at in range(2))])
    (root / "train/cat/0.png").write_bytes(encoded(pixels(50, 20, 1)))
    (root / "train/cat/1.jpg").write_bytes(encoded(pixels(51, 30), "JPEG"))
    (root / "train/cat/1.png").unlink()
    shades = np.full((9, 40, 4), 128, np.uint8)
    (root / "train/cat/2.png").write_bytes(saved(Image.fromarray(shades), "PNG"))
    (root / "train/dog/1.png").write_bytes((root / "train/cat/3.png").read_bytes())  # in two classes
    (root / "test/cat/0.png").write_bytes((root / "train/cat/4.png").read_bytes())  # in two splits
    (root / "test/cat/1.png").write_bytes((root / "test/cat/2.png").read_bytes())
    (root / "train/notes.txt").write_text("x")
    return root


def test_a_report_counts_what_is_there(tmp_path: Path) -> None:
    pets(tmp_path)
    events: list[Event] = []
    of = report(DatasetSpec(str(tmp_path)), progress=lambda event: events.append(event))
    assert of.images == {"train": 15, "test": 6}
    assert [(item.name, item.images) for item in of.classes] == [
        ("cat", {"train": 12, "test": 4}),
        ("dog", {"train": 3, "test": 2}),
    ]
    assert (of.imbalance, of.smallest, of.test_from) == (4.0, "dog", "test")
    assert of.read_as == "A folder for each split, and in it a folder of pictures for each class."
    assert of.storage.looked_at == 21
    assert (of.storage.heights, of.storage.widths) == ((8, 8, 30), (8, 8, 40))
    assert of.storage.shapes == 4
    assert of.storage.modes == {"colour": 19, "grey": 1, "colour with alpha": 1}
    assert of.storage.formats == {"PNG": 20, "JPEG": 1}
    assert of.copies.within == {"train": 1, "test": 1}
    assert of.copies.across == {"test and train": 1}
    assert of.copies.examples == (("test/cat/0.png", "train/cat/4.png"),)
    assert of.copies.contradictions == 1
    assert any("more than one class" in note for note in of.notes)
    assert of.unreadable is None
    assert [(item.reason, item.count) for item in of.left_out] == [("files with a suffix that no picture has", 1)]
    assert (events[-1].stage, events[-1].done) == ("Reading headers", 21)
    data = load(tmp_path)
    for item in of.classes:
        assert len(item.thumbnails) == min(THUMBNAILS, item.images["train"])
        assert {data.class_names[data.split("train").labels[at]] for at in item.thumbnails} == {item.name}


def test_a_sample_is_stated(tmp_path: Path) -> None:
    assert report(DatasetSpec(str(pets(tmp_path))), sample=5).storage.looked_at == 5
    assert report(DatasetSpec("digits"), sample=0).storage.looked_at == 1797


def test_what_cannot_be_read_is_reported_and_not_fatal(tmp_path: Path) -> None:
    pets(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / "train/dog" / name).write_bytes(b"no picture")
    of = report(DatasetSpec(str(tmp_path)))
    assert of.unreadable is not None
    assert (of.unreadable.count, of.unreadable.names) == (2, ("train/dog/a.png", "train/dog/b.png"))
    assert of.images["train"] == 15
    assert "--skip-broken" in of.notes[0]
    with pytest.raises(InputError, match="2 of 23 pictures"):
        load(tmp_path)
    skipping = report(DatasetSpec(str(tmp_path), skip_broken=True))
    assert skipping.unreadable == of.unreadable
    assert "--skip-broken" not in " ".join(skipping.notes)


def test_an_imbalance_is_noted(tmp_path: Path) -> None:
    write(tmp_path, [*(f"a/{at}.png" for at in range(60)), *(f"b/{at}.png" for at in range(5))])
    of = report(DatasetSpec(str(tmp_path)))
    assert of.imbalance == 12.0
    assert "12 times as many training images as 'b' (4)" in of.notes[0]
    assert of.test_from == "held out"


def test_images_in_memory_are_compared_by_their_pixels(tmp_path: Path) -> None:
    images = np.stack([pixels(at, channels=1) for at in range(12)])
    images[9] = images[2]
    np.savez(tmp_path / "a.npz", x_train=images[:8], y_train=[0, 1] * 4, x_test=images[8:], y_test=[0, 1, 0, 1])
    of = report(DatasetSpec(str(tmp_path / "a.npz")))
    assert of.copies.across == {"test and train": 1}
    assert of.copies.contradictions == 1
    assert (of.storage.modes, of.storage.formats) == ({"grey": 12}, {"": 12})
    assert report(DatasetSpec("digits")).copies.contradictions == 0


def test_what_is_no_data_set_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no readable data set"):
        report(DatasetSpec(str(tmp_path)))
    write(tmp_path, [f"only/{at}.png" for at in range(9)])
    with pytest.raises(InputError, match="no readable data set"):
        report(DatasetSpec(str(tmp_path)))


def test_the_command(tmp_path: Path) -> None:
    pets(tmp_path)
    run = CliRunner().invoke(app, ["datasets", "--check", str(tmp_path), "--json"])
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    assert answer["images"] == {"train": 15, "test": 6}
    assert answer["classes"][1]["thumbnails"] == [12, 13, 14]
    text = CliRunner().invoke(app, ["datasets", "--check", str(tmp_path), "--sample", "4"]).stdout
    for part in ("15 train, 6 test images in 2 classes", "Read as: A folder for each split", "median 8 (4 images)",
                 "1 in test and train", "Imbalance: 4.00", "Unreadable: none", "Note: Left out: 1 files"):  # fmt: skip
        assert part in text
    (tmp_path / "train/cat/x.png").write_bytes(b"")
    close_datasets()
    assert (
        "Unreadable: 1 pictures, the first: train/cat/x.png"
        in CliRunner().invoke(app, ["datasets", "--check", str(tmp_path)]).stdout
    )
    refused = CliRunner().invoke(app, ["datasets", "--check", str(tmp_path / "nowhere"), "--json"])
    assert refused.exit_code == 2


def test_columns_are_named_on_the_command_line(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [picture(at) for at in range(30)]
    table = {"a": images, "b": images[::-1], "x": [0, 1] * 15, "y": [0, 1, 2] * 10}
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    arguments = ["datasets", "--check", str(tmp_path), "--json"]
    assert "Name one: --image-column" in json.loads(CliRunner().invoke(app, arguments).stdout)["error"]
    for option in ("--class", "--label-column"):
        run = CliRunner().invoke(app, [*arguments, "--image-column", "b", option, "y"])
        assert run.exit_code == 0, run.output
        answer = json.loads(run.stdout)
        assert (len(answer["classes"]), answer["class_column"]) == (3, "y")
