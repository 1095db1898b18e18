"""The page New: from images to a converted model in steps that can be gone back to, kept in a draft."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.claims import new_model as claims
from app.components.shared.making import is_made
from app.routes.pictures import _content_of_draft
from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.base.jobs import Job
from kmex_core.base.jsontext import write_json
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands.datasets import report_job
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.report import report
from kmex_core.stages import drafts
from kmex_core.stages.drafts import Draft
from tests.helpers.pages import address, button, cards, healthy, open_link, said
from tests.helpers.stores import put

CLASSES = ("a_[x]", "b", "c")
ID = "0123456789ab"
GIVEN = Preprocessing(16, 16, 3, (0.5,) * 3, (0.5,) * 3, "shorter", 20)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 pictures of each of three classes, and one file that is none."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir()
        for number in range(10):
            pixels = random.integers(0, 256, (24, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "b" / "broken.png").write_bytes(b"\x89PNG nothing")
    return root


class Jobs:
    """Jobs that pages start: what they answer is put here, nothing runs."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.started = store, list[tuple[str, tuple[str, ...]]]()
        self.known: dict[str, Job] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(jobs, "start", self.start)
        monkeypatch.setattr(jobs, "look", lambda _, name: self.known.get(name))
        monkeypatch.setattr(jobs, "answer", lambda _, name: self.answers.get(name))

    def start(self, _: Store, name: str, arguments: list[str]) -> bool:
        self.started.append((name, tuple(arguments)))
        self.known[name] = Job("running", "Reading files", 1, 9, arguments=tuple(arguments))
        return True

    def end(self, name: str, answer: dict[str, Any]) -> None:
        """Let a job be done."""
        self.known[name] = dataclasses.replace(self.known[name], state="done")
        self.answers[name] = json.loads(write_json(answer))

    @property
    def last(self) -> str:
        return self.started[-1][0]


@pytest.fixture
def fake(store: Store, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(store, monkeypatch)


def reported(fake: Jobs, photos: Path) -> dict[str, Any]:
    """The report on the photos, as its job answers."""
    name = report_job(DatasetSpec(str(photos))).name
    answer = dataclasses.asdict(report(DatasetSpec(str(photos))))
    fake.known.setdefault(name, Job("running"))
    fake.end(name, answer)
    return answer


def decided(**changes: Any) -> dict[str, Any]:
    """What the command answers about a network of three outputs, in another order than the classes."""
    counts = [[0, 2, 7], [1, 1, 7], [2, 0, 7]]
    return {
        "steps": [
            {"title": "Network", "text": "timm:test_vit, random.", "warning": True, "hint": ""},
            {"title": "Preprocessing", "text": "squeezed.", "warning": False, "hint": ""},
            {"title": "Head", "text": "'head'.", "warning": False, "hint": ""},
            {"title": "Classes", "text": "All 3 outputs.", "warning": False, "hint": "--classes"},
        ],
        "preprocessing": dataclasses.asdict(GIVEN),
        "head": {"path": "head", "dimensions": 64, "outputs": 3},
        "layers": ["head", "blocks.1.mlp.fc2"],
        "class_names": list(CLASSES),
        "class_outputs": [0, 1, 2],
        "output_names": [],
        "examples": {"split": "test", "rows": [0, 1, 2, 3]},
        "check": {
            "images": 21,
            "accuracy": 1 / 3,
            "chance": 1 / 3,
            "at_chance": True,
            "confusion": counts,
            "reordered": {"class_outputs": [2, 1, 0], "accuracy": 1.0},
            "better": [
                {
                    "words": "values from 0 to 255",
                    "preprocessing": dataclasses.asdict(dataclasses.replace(GIVEN, white=255.0)),
                    "accuracy": 0.9,
                }
            ],
        },
        "expected_seconds": 240.0,
        "expected_megabytes": 151.0,
    } | changes


def opened(step: str = "images", **draft: Any) -> AppTest:
    """The page with a draft that was kept before."""
    if draft:
        drafts.change(Store(), ID, **draft)
    return healthy(open_link("new", draft=ID, step=step))


def kept() -> Draft:
    draft = drafts.read(Store(), ID)
    assert draft is not None
    return draft


def on_check(fake: Jobs, photos: Path, answer: dict[str, Any] | None = None, **draft: Any) -> AppTest:
    """Step 3, once the network was looked at."""
    reported(fake, photos)
    test = opened("check", images=str(photos), skip_broken=True, model="timm:test_vit", **draft)
    fake.end(fake.last, answer or decided())
    return healthy(test.run())


# ---- 1 images --------------------------------------------------------------------------------------------------------


def test_a_path_becomes_a_report(fake: Jobs, photos: Path) -> None:
    test = opened()
    test.text_input(key=f"new-{ID}-path").set_value(str(photos))
    healthy(button(test, "Read the images").click().run())
    assert fake.started == [(fake.last, ("datasets", "--check", str(photos), "--json"))]
    assert kept().images == str(photos)
    answer = reported(fake, photos)
    test = healthy(test.run())
    assert any("**30 images of 3 classes** (24 train, 6 test)" in text.value for text in test.markdown)
    assert test.dataframe[0].value["Train"].tolist() == [8, 8, 8]
    assert len(cards(test)) == 3 * 6
    assert len(fake.started) == 1
    # a picture that cannot be decoded is asked about before the next step
    assert "1 picture cannot be decoded: b/broken.png" in said(test)
    assert "Continue with your model" not in [one.label for one in test.button]
    test.toggle(key=f"new-{ID}-skip_broken").set_value(True).run()
    assert kept().skip_broken
    healthy(button(test, "Continue with your model").click().run())
    assert address(test)["step"] == "model"
    # the thumbnails' addresses
    place = "skipped", answer["fingerprint"], "train"
    assert _content_of_draft(ID, *place, 3).startswith(b"\x89PNG")
    for wrong in (
        (ID, *place, 99),
        ("../x", *place, 0),
        (ID, "skipped", "other", "train", 0),
        (ID, *place[:2], "x", 0),
    ):
        with pytest.raises(InputError):
            _content_of_draft(*wrong)


@pytest.mark.parametrize("entered", ["", "elsewhere"])
def test_a_folder_that_is_not_named_or_allowed_is_refused(
    entered: str, fake: Jobs, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_DATA_ROOTS", str(photos))
    test = opened()
    test.text_input(key=f"new-{ID}-path").set_value(entered and str(tmp_path / entered))
    healthy(button(test, "Read the images").click().run())
    assert "does not open" in test.error[0].value if entered else "Name a folder" in test.error[0].value
    # nor does a draft, which anybody could have written
    test = opened(images=str(tmp_path))
    assert "does not open" in test.error[0].value
    assert fake.started == []
    with pytest.raises(InputError, match="does not open"):
        _content_of_draft(ID, "skipped", "x", "train", 0)


def test_one_of_several_columns_is_chosen(fake: Jobs, tmp_path: Path) -> None:
    test = opened(images=str(tmp_path))
    name = fake.last
    fake.known[name] = Job("failed", message="Two may be.", option="label-column", choices=("breed", "colour"))
    test = healthy(test.run())
    box = test.selectbox(key=f"new-{ID}-choice-class_column")
    assert box.options == ["breed", "colour"]
    box.set_value("colour")
    healthy(test.run())
    assert kept().class_column == "colour"
    assert "colour" in fake.started[-1][1]


# ---- 2 model ---------------------------------------------------------------------------------------------------------


def test_a_network_is_looked_at_by_one_job_and_can_be_changed(fake: Jobs, photos: Path) -> None:
    reported(fake, photos)
    test = opened("model", images=str(photos), skip_broken=True)
    assert "test_vit" in test.selectbox(key=f"new-{ID}-name-timm").options
    test.selectbox(key=f"new-{ID}-name-timm").set_value("test_vit")
    healthy(button(test, "Look at this model").click().run())
    ((first, arguments),) = fake.started
    assert arguments[0] == "new"
    options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    assert (options["--images"], options["--model"]) == (str(photos), "timm:test_vit")
    assert {"--dry-run", "--skip-broken", "--json"} <= set(arguments)
    assert "--name" not in arguments
    fake.end(first, decided())
    test = healthy(test.run())
    assert kept().decision == first
    assert any("All 3 outputs." in text.value and "--classes" not in text.value for text in test.markdown)
    # another head: one more job, and what was found before stays on the page
    test.selectbox(key=f"new-{ID}-head").set_value("blocks.1.mlp.fc2")
    test = healthy(test.run())
    assert len(fake.started) == 2
    assert fake.started[1][1][fake.started[1][1].index("--head") + 1] == "blocks.1.mlp.fc2"
    assert any("with the settings before" in text.value for text in test.caption)
    # a preprocessing by hand begins with the one that was found
    test.selectbox(key=f"new-{ID}-preprocess").set_value("")
    test = healthy(test.run())
    assert kept().preprocessing == GIVEN
    next(one for one in test.number_input if one.label == "Height (pixels)").set_value(32)
    next(one for one in test.text_input if one.label == "Mean").set_value("0.1, x")
    healthy(button(test, "Use this preprocessing").click().run())
    assert "comma-separated numbers" in test.error[-1].value
    next(one for one in test.text_input if one.label == "Mean").set_value("0.1, 0.2, 0.3")
    healthy(button(test, "Use this preprocessing").click().run())
    expected = dataclasses.replace(GIVEN, height=32, mean=(0.1, 0.2, 0.3))
    assert kept().preprocessing == expected
    path = Path(fake.started[-1][1][fake.started[-1][1].index("--preprocess") + 1])
    assert Preprocessing.from_description(json.loads(path.read_text())) == expected
    # one step back and forth loses nothing
    button(test, "1 Images").click()
    healthy(test.run())
    assert test.text_input(key=f"new-{ID}-path").value == str(photos)
    button(test, "2 Model").click()
    test = healthy(test.run())
    assert test.selectbox(key=f"new-{ID}-head").value == "blocks.1.mlp.fc2"


def test_a_function_is_never_allowed_by_the_page(fake: Jobs, photos: Path, store: Store) -> None:
    reported(fake, photos)
    test = opened("model", images=str(photos), skip_broken=True, model="my_networks:make")
    assert "python -m kmex_core trust my_networks:make" in test.error[0].value
    assert fake.started == []
    assert not (store.root / "trusted.json").exists()


def test_files_of_networks_and_weights_must_be_allowed(
    fake: Jobs, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_DATA_ROOTS", str(photos))
    reported(fake, photos)
    asked = {"images": str(photos), "skip_broken": True}
    for draft in (
        {"model": f"onnx:{tmp_path / 'n.onnx'}"},
        {"model": f"hf:{tmp_path}"},
        {"model": "hf:../.."},
        {"model": "hf:facebook/dinov2-small"},  # would be downloaded
        {"model": f"export:{photos}/../n.pt2"},
        {"model": "timm:test_vit", "weights": str(tmp_path / "w.pt")},
    ):
        test = opened("model", **asked, **{"weights": "", **draft})
        assert "does not open" in test.error[0].value, draft
    assert fake.started == []


def test_uploaded_weights_are_kept_for_their_draft(fake: Jobs, photos: Path, store: Store) -> None:
    reported(fake, photos)
    test = opened("model", images=str(photos), skip_broken=True, model="timm:test_vit", head="head")
    test.segmented_control(key=f"new-{ID}-weights-from").set_value("Upload a file")
    test = healthy(test.run())
    test.file_uploader(key=f"new-{ID}-file").upload("my w.pt", b"weights", "application/octet-stream")
    healthy(button(test, "Look at this model").click().run())
    draft = kept()
    assert Path(draft.weights).read_bytes() == b"weights"
    assert (draft.weights_name, draft.head) == ("my w.pt", "")  # other weights may have another head
    assert draft.weights in fake.started[-1][1]
    assert drafts.is_awaited(store, Path(draft.weights))
    assert not drafts.is_upload_of(store, "ba9876543210", draft.weights)


# ---- 3 check ---------------------------------------------------------------------------------------------------------


def test_the_check_shows_what_fits_and_offers_repairs(fake: Jobs, photos: Path) -> None:
    test = on_check(fake, photos)
    assert "No better than guessing" in said(test)
    assert len(test.get("image")) == 4
    assert len(test.get("plotly_chart")) == 1
    assert any("about 4 minutes and 151 MB" in text.value for text in test.markdown)
    healthy(button(test, "Use this preprocessing").click().run())
    assert kept().preprocessing == dataclasses.replace(GIVEN, white=255.0)
    fake.end(fake.last, decided())
    test = healthy(test.run())
    healthy(button(test, "Use this order of classes").click().run())
    assert kept().classes == ("c", "b", "a_[x]")
    arguments = fake.started[-1][1]
    assert Path(arguments[arguments.index("--classes") + 1]).read_text() == "c\nb\na_[x]"


def test_converting_is_one_job_with_what_was_chosen(fake: Jobs, photos: Path, store: Store) -> None:
    test = on_check(fake, photos, head="head", classes=("c", "b", "a_[x]"))
    before = len(fake.started)
    next(one for one in test.text_input if one.label == "Name").set_value("../out")
    healthy(button(test, "Convert").click().run())
    assert "letters" in test.error[0].value
    assert len(fake.started) == before
    next(one for one in test.text_input if one.label == "Name").set_value("mine")
    next(one for one in test.number_input if one.label == "Prototypes per class").set_value(7)
    healthy(button(test, "Convert").click().run())
    ((name, arguments),) = fake.started[before:]
    assert name == "new-mine"
    options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    assert options["--images"] == str(photos)
    assert (options["--model"], options["--head"], options["--k"], options["--name"]) == (
        "timm:test_vit", "head", "7", "mine",
    )  # fmt: skip
    assert "--skip-broken" in arguments
    assert "--dry-run" not in arguments
    # a reload shows its progress, and starts nothing
    test = opened("check")
    assert any("Converting mine." in text.value for text in test.markdown)
    assert len(fake.started) == before + 1
    # the end: the model, on this page and in a notice on every page
    put(store, "mine")
    fake.end(name, {})
    test = opened("check")
    assert "**mine** is in the store. Every page can show it now." in test.success[0].value
    for state, made in (("stopped", True), ("failed", True), ("running", False)):
        assert is_made(name, dataclasses.replace(fake.known[name], state=state)) == made
    late = dataclasses.replace(fake.known[name], state="failed", started=time.time() + 60)
    assert not is_made(name, late), "the model is another one, made before"
    button(test, "Open in Explore").click()
    test = healthy(test.run())
    assert test.sidebar.selectbox(key="model").value == "mine"


def test_an_answer_that_cannot_be_read_waits_for_a_button(fake: Jobs, photos: Path) -> None:
    test = opened(images=str(photos))
    assert len(fake.started) == 1
    fake.end(fake.last, {"of": "another version"})
    test = healthy(test.run())
    assert "cannot be read any more" in test.info[0].value
    assert len(fake.started) == 1
    healthy(button(test, "Look again").click().run())
    assert len(fake.started) == 2


def test_a_reload_keeps_the_draft_and_tabs_do_not_share_it(fake: Jobs, photos: Path, store: Store) -> None:
    reported(fake, photos)
    first = healthy(open_link("new"))
    second = healthy(open_link("new"))
    names = address(first)["draft"], address(second)["draft"]
    assert names[0] != names[1]
    assert list(store.root.glob("drafts/*")) == []  # a visit alone keeps nothing
    for test, images in zip((first, second), (photos, "digits"), strict=True):
        test.text_input(key=f"new-{address(test)['draft']}-path").set_value(str(images))
        healthy(button(test, "Read the images").click().run())
    again = healthy(open_link("new", **address(first)))
    assert again.text_input(key=f"new-{names[0]}-path").value == str(photos)
    # what another tab has changed of the same draft stays
    drafts.change(store, names[0], head="fc")
    again.toggle(key=f"new-{names[0]}-skip_broken").set_value(True).run()
    draft = drafts.read(store, names[0])
    assert draft is not None
    assert (draft.head, draft.skip_broken) == ("fc", True)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"k": 0}', '{"images": 3}', '{"images": "a\\u0000b"}', '{"preprocessing": {"height": 1e9}}',
     '{"classes": [1]}', '{"skip_broken": "yes"}', "[" * 100_000, '{"model": "' + "x" * 5000 + '"}'],
)  # fmt: skip
def test_a_file_that_is_no_draft_is_harmless(content: str, fake: Jobs, store: Store) -> None:
    (store.root / drafts.ROOM).mkdir(parents=True)
    (store.root / drafts.ROOM / f"{ID}.json").write_text(content)
    assert drafts.read(store, ID) is None
    test = opened()
    assert button(test, "2 Model").disabled
    assert fake.started == []


def test_an_address_of_no_draft_is_said(fake: Jobs) -> None:
    test = healthy(open_link("new", draft="../../x", step="check"))
    assert "../../x" in said(test)
    assert button(test, "3 Check").disabled


def test_a_read_only_server_explains(fake: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    test = healthy(open_link("new", draft=ID))
    assert "read-only" in test.info[0].value
    assert not test.text_input
    assert not store.root.exists() or list(store.root.glob("drafts/*")) == []
    with pytest.raises(InputError, match="read-only"):
        drafts.change(store, ID, images="x")


def test_where_there_is_nothing_the_page_is_named(store: Store) -> None:
    test = healthy(open_link("prototypes", model="gone"))
    assert any(link.proto.page == "new" for link in test.get("page_link"))
    assert any(link.proto.page == "new" for link in healthy(open_link("models")).get("page_link"))


# ---- what is claimed -------------------------------------------------------------------------------------------------


def test_verdicts_follow_the_numbers() -> None:
    check = decided()["check"]
    assert "No better than guessing" in claims.check_verdict(check, 3)
    fits = {**check, "at_chance": False, "accuracy": 0.9, "confusion": [[0, 0, 9], [0, 1, 1], [1, 1, 10]]}
    assert "fit together" in claims.check_verdict(fits, 3)
    assert "less than half" in claims.check_verdict({**fits, "accuracy": 0.6}, 3)
    assert "predicts none of your 3" in claims.check_verdict(None, 3)
    assert "1 of 10 images of **a\\_\\[x\\]** are taken for **b**" in claims.most_confused(fits, list(CLASSES)).replace(
        "\u2060", ""
    )
    assert "No held-out image" in claims.most_confused({"confusion": [[0, 0, 3]]}, list(CLASSES))
    np.testing.assert_array_equal(claims.confusion(fits, 3), [[9, 1, 0], [0, 10, 0], [0, 0, 0]])
    assert "a few seconds" in claims.cost({"expected_seconds": 0.1, "expected_megabytes": 5})
    assert "about 60 seconds" in claims.cost({"expected_seconds": 60, "expected_megabytes": 5})


def test_what_is_said_of_images_follows_the_report(photos: Path) -> None:
    found = dataclasses.asdict(report(DatasetSpec(str(photos))))
    assert "no image occurs twice" in claims.copies(found)
    copies = {"within": {"train": 2}, "across": {"test and train": 3}}
    said_of_copies = claims.copies({"copies": copies})
    assert "2 images are copies" in said_of_copies
    assert "no evidence" in said_of_copies
    assert "Every class has 8 training images. 3 of the classes have fewer than 20" in claims.balance(found)
    assert "all of one size; colour and PNG (30 images looked at)" in claims.sizes(found)
