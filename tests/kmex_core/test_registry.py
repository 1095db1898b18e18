"""Registries: what is registered has all that people need to read it, and yields a value or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.registry import Description, Registry, descriptions
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.registry import DATASETS
from kmex_core.metrics import kinds
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.metric import GROUPS
from kmex_core.models import catalogue
from kmex_core.models.baseline import Baseline
from kmex_core.models.kinds import BASELINES
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource
from kmex_core.relevance.catalogue import METHODS, TARGETS, MapKind
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.subject import subject_of


def test_a_registry_keeps_the_order_refuses_twins_and_suggests_names() -> None:
    registry: Registry[int] = Registry("number")
    registry.register("two", 2)
    registry.register("one", 1)
    assert list(registry.items()) == [("two", 2), ("one", 1)]
    assert registry.named("one") == 1
    with pytest.raises(ValueError, match="two numbers named 'one'"):
        registry.register("one", 3)
    with pytest.raises(InputError, match="did you mean 'two'"):
        registry.named("tow")


def test_each_file_of_a_metric_adds_one_in_a_place_of_its_own() -> None:
    files = {path.stem for path in Path(kinds.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(METRICS) == files
    places = [(GROUPS.index(metric.group), metric.place) for metric in METRICS.values()]
    assert places == sorted(set(places))


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_is_described_as_its_class_says(name: str) -> None:
    kind = BASELINES[name]
    network = kind.load()
    assert issubclass(network, Baseline)
    for field in ("name", "title", "about", "paper", "epochs", "similarity_from", "defaults"):
        assert getattr(network, field) == getattr(kind, field), field
    assert kind.about.endswith(".")
    assert set(network.options_for("cifar10")) <= set(kind.defaults)


def test_a_description_is_read_without_importing_and_must_be_literal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "thirdparty"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "b.py").write_text("import nothing_like_this\n\nclass B(Base):\n    name = 'b'\n    place: int = 1\n")
    (package / "a.py").write_text("class A(other.Base):\n    name = 'a'\n    place = 2\n\nclass C(C0):\n    name = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries = descriptions("thirdparty", ("Base", "other.Base"), Description)
    assert [(entry.name, entry.module, entry.class_name) for entry in entries] == [
        ("b", "thirdparty.b", "B"),
        ("a", "thirdparty.a", "A"),
    ]
    with pytest.raises(ModuleNotFoundError, match="nothing_like_this"):
        entries[0].load()
    with pytest.raises(TypeError, match="place"):
        descriptions("thirdparty", ("C0",), Description)
    (package / "b.py").write_text("class B(Base):\n    name = 'b' + str(1)\n    place = 1\n")
    with pytest.raises(ValueError, match=r"b\.py: B\.name must be a literal"):
        descriptions("thirdparty", ("Base",), Description)


@pytest.mark.parametrize("name", DATASETS)
def test_each_data_set_loads_or_says_which_files_are_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")  # nothing is downloaded
    source = DATASETS[name]
    assert source.name == name
    assert datasets.registered(source.title) == name
    assert source.about
    spec = DatasetSpec(name, str(tmp_path))
    if source.is_there(tmp_path):
        data = datasets.load(spec)
        assert data.class_names
        assert len(data.split("train"))
        assert len(data.split("test"))
    else:
        with pytest.raises(InputError, match=re.escape(source.title)):
            datasets.load(spec)


@pytest.mark.parametrize("name", METHODS)
def test_each_relevance_method_is_shown_and_evaluated(demo: Store, name: str) -> None:
    described = METHODS[name]
    method = described.load()
    for field in ("name", "title", "about", "version", "conserves", "tolerance"):
        assert getattr(method, field) == getattr(described, field), field
    assert described.about.endswith(".")
    subject, source = subject_of(demo, "digits"), KMeans(2)
    size = (3, subject.info.image_size, subject.info.image_size)
    explainer = subject.explainer(source)
    assert not described.make().why_not(explainer, size)
    image = catalogue.network_input(subject.info, subject.data.split("test").image(0))
    explanation = explainer.explain(image, method=name)
    assert explanation.maps.method == name
    assert explanation.maps.exact.all()
    on_maps = [metric for metric, kind in METRICS.items() if kind.maps]
    measured = evaluate([subject], source, [0], 3, on_maps, MapKind(method=name))
    assert (measured.target, measured.method) == ("margin", name)
    assert all(value.mean is not None for value in measured.metrics.values())


def test_each_relevance_method_has_results_of_its_own(demo: Store) -> None:
    subject = subject_of(demo, "digits")
    kinds = [MapKind(target, method) for target in TARGETS for method in METHODS]
    assert len({subject.relevance_scores(KMeans(2), 3, 0, kind).key for kind in kinds}) == len(kinds)
    with pytest.raises(InputError, match="did you mean 'prp'"):
        evaluate([subject], KMeans(2), [0], 3, ["average_drop"], MapKind(method="rpr"))
    with pytest.raises(InputError, match="did you mean 'margin'"):
        evaluate([subject], KMeans(2), [0], 3, ["average_drop"], MapKind("margins"))


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_can_be_read(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.about.endswith(".")
    assert metric.better or metric.chance_of or name in ("effective_random", "effective_equidistant")
    if metric.chance_of:
        assert not metric.better, "a chance level is not a finding"
        assert METRICS[metric.chance_of].better
        assert METRICS[metric.chance_of].of_both == metric.of_both
        assert metric.chance_name
    if metric.reference_of:
        assert METRICS[metric.reference_of].table == 0, "the paper's figures are beside the published form only"
    assert metric.range[0] < metric.range[1]
    assert metric.heading.startswith(metric.title)


@pytest.mark.parametrize(
    ("model", "source"), [("digits", KMeans(2)), ("digits", KMeans(1)), ("digits-protovae", BuiltIn())]
)
def test_each_metric_yields_a_value_or_says_why_not(demo: Store, model: str, source: PrototypeSource) -> None:
    subject = subject_of(demo, model)
    names = list(METRICS)
    measured = evaluate([subject], source, [0], 3, names).metrics
    expected = {
        key
        for name in names
        for key in (name, METRICS[name].black_box)
        if key and (not source.built_in or (key == name and not METRICS[name].beside))
    }
    assert set(measured) == expected
    for name, value in measured.items():
        assert (value.mean is None) == bool(value.reason), name
        metric = METRICS[name.removesuffix("_black_box")]
        if value.mean is not None:
            assert np.isfinite(value.mean)
            assert metric.range[0] - 1e-9 <= value.mean <= metric.range[1] + 1e-9, name


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_is_explained_and_evaluated(demo: Store, name: str) -> None:
    described = TARGETS[name]
    target = described.load()
    for field in ("name", "title", "about", "noun", "subject", "has_rival"):
        assert getattr(target, field) == getattr(described, field), field
    subject, source = subject_of(demo, "digits"), KMeans(2)
    image = catalogue.network_input(subject.info, subject.data.split("test").image(0))
    explanation = subject.explainer(source).explain(image, target=name, method="gradient-input")
    assert explanation.maps.target == name
    assert (explanation.maps.rivals >= 0).all() == described.has_rival
    on_maps = [metric for metric, kind in METRICS.items() if kind.maps]
    measured = evaluate([subject], source, [0], 3, on_maps, MapKind(name, "gradient-input"))
    assert all(value.mean is not None for value in measured.metrics.values())
