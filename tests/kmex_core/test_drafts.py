"""Drafts: what is kept, what is asked for, and when they go."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.stages import drafts, upkeep
from kmex_core.stages.drafts import Draft

PREPROCESSING = Preprocessing(32, 24, 3, (0.1, 0.2, 0.3), (0.5,) * 3, "shorter", 40, white=255.0, order="BGR")
WHOLE = Draft(
    "photos", "breed", "picture", True, "timm:x", "w.pt", "my w.pt", "fc", False, ("b", "a\nb, c"), "", PREPROCESSING,
    "decide-x", "mine", 7,
)  # fmt: skip


def test_a_draft_comes_back_as_it_was_kept(store: Store) -> None:
    name = drafts.new_id()
    drafts.change(store, name, **{field: getattr(WHOLE, field) for field in Draft.__dataclass_fields__})
    assert drafts.read(store, name) == WHOLE
    assert drafts.change(store, name, k=9).model == "timm:x"
    for wrong in ({"k": 0}, {"images": "x" * 5000}, {"head": "a\0"}):
        with pytest.raises(InputError):
            drafts.change(store, name, **wrong)
    assert drafts.read(store, drafts.new_id()) is None


@pytest.mark.parametrize("name", ["", "../../x", "0123456789ab/..", "0123456789abc", "0123456789AB"])
def test_a_name_that_leads_elsewhere_names_no_draft(name: str, store: Store) -> None:
    with pytest.raises(InputError):
        drafts.change(store, name, k=3)
    assert not store.root.exists()


def test_a_link_is_not_followed(store: Store, tmp_path: Path) -> None:
    name = drafts.new_id()
    drafts.change(store, name, k=9)
    path = store.root / drafts.ROOM / f"{name}.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert drafts.read(store, name) is None


def test_what_a_draft_asks_for_is_in_files_named_by_their_content(store: Store) -> None:
    asked = drafts.request(store, WHOLE, WHOLE.spec)
    assert Path(asked.classes).read_text() == "b\na b, c"
    assert (asked.weights, asked.head, asked.images) == (Path("w.pt"), "fc", WHOLE.spec)
    assert drafts.request(store, WHOLE, WHOLE.spec) == asked
    assert len(list((store.root / drafts.ROOM).iterdir())) == 2
    usual = drafts.request(store, Draft("photos", model="timm:x", encoder=True, classes=("a",)), WHOLE.spec)
    assert (usual.classes, usual.preprocess, usual.weights) == ("none", "auto", None)


def test_drafts_and_their_uploads_go_after_a_month(store: Store) -> None:
    name, other = drafts.new_id(), drafts.new_id()
    drafts.change(store, name, k=9)
    first = drafts.upload_weights(store, name, io.BytesIO(b"one"))
    path = drafts.upload_weights(store, name, io.BytesIO(b"two"))
    orphan = drafts.upload_weights(store, other, io.BytesIO(b"three"))
    drafts.request(store, WHOLE, WHOLE.spec)
    assert not first.exists()
    assert path.read_bytes() == b"two"
    hour = time.time() - upkeep.HOUR - 60
    for upload in (path, orphan):
        os.utime(upload, (hour, hour))
    assert upkeep.verify(store).unknown == []
    assert [finding.path for finding in upkeep.needless(store)] == [f"uploads/{orphan.name}"]
    month = time.time() - drafts.KEPT - 60
    for file in (store.root / drafts.ROOM).iterdir():
        os.utime(file, (month, month))
    drafts.request(store, WHOLE, WHOLE.spec)  # what is used again is kept
    findings = upkeep.needless(store)
    assert {finding.path for finding in findings} == {f"drafts/{name}.json", f"uploads/{orphan.name}"}
    assert upkeep.remove(store, findings)[0] == 2
    assert drafts.read(store, name) is None
    assert [finding.path for finding in upkeep.needless(store)] == [f"uploads/{path.name}"]
