"""The rest of the paper's data sets (A.1), on generated files of their official layouts: trained, converted, shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.components.attributes import curves as attribute_curves
from kmex_core.base import jobs
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import training
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.methods import masked_gradients
from kmex_core.stages import training_runs
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.official import WRITERS, celeba_files, quickdraw_files, write_cub
from tests.helpers.pages import cards, healthy, open_link

DATA: dict[str, tuple[Callable[[Path], object], int, int, int]] = {  # writer, classes, side, channels
    "svhn": (WRITERS["svhn"], 10, 32, 3),
    "stl10": (WRITERS["stl10"], 10, 96, 3),
    "quickdraw10": (lambda root: quickdraw_files(root, 10), 10, 32, 1),
    "celeba": (celeba_files, 2, 224, 3),
    "cub200": (write_cub, 3, 224, 3),
}


SLOW = ("svhn", "cub200", "celeba")  # like stl10; attributes, as of CelebA, are seen with the faces


@pytest.mark.usefixtures("any_content")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in DATA]
)
def test_it_trains_converts_and_shows_on_every_page(
    name: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "start", lambda *_: None)
    monkeypatch.setattr(attribute_curves, "KS", range(1, 3))
    monkeypatch.setattr(masked_gradients, "FEWER", 2)  # a ResNet-20 is slow on images of 224×224 pixels
    write, classes, side, channels = DATA[name]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    monkeypatch.setenv("KMEX_DATA", str(tmp_path / "data"))
    spec = DatasetSpec(name)
    data = datasets.load(spec)
    assert (len(data.class_names), data.image_size, data.channels) == (classes, side, channels)
    recipe = training.default_recipe(data, False, epochs=1, batch_size=16)
    info = training_runs.train(store, training_runs.TrainRequest("net", spec, "resnet20", recipe, "cpu", ""))
    made = Subject(store, info, dataset_of(info)).conversion(KMeans(2)).get()
    assert len(made.prototypes) == 2 * classes
    test = healthy(open_link("prototypes", dataset=datasets.title(name), model="net", k="2"))
    assert test.selectbox(key="model").value == "net"
    assert len(cards(test)) == 2 * classes
    for view in ("explore", "numbers", "audit", "attributes", "compare", "explain"):
        healthy(test.switch_page(f"views/{view}.py").run())
        if view == "attributes":
            said = test.info[0].value if test.info else test.markdown[1].value
            expected = r"(of|all) 39 attributes are captured" if name == "celeba" else "has no attributes"
            assert re.search(expected, said), said
