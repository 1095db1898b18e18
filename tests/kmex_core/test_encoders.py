"""Networks that predict none of the classes: KMEx alone classifies, and nothing speaks of a black box beside it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.metrics import black_box_accuracy, black_box_agreement
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.catalogue import MapKind
from kmex_core.stages.evaluation import evaluate
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.encoders import encoder
from tests.helpers.pictures import encoded

SILENT = ("black box", "nan", "-100", "−1")  # what nothing may say of such a network


@pytest.fixture(params=[False, True], ids=["other classes", "encoder"])
def info(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> ModelInfo:
    return encoder(store, tmp_path / "pictures", whole=request.param)


@pytest.fixture
def subject(info: ModelInfo, store: Store) -> Subject:
    return Subject(store, info, dataset_of(info), "cpu")


def output(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def quiet(text: str) -> str:
    for words in SILENT:
        assert words not in text.lower(), text
    return text


def test_kmex_classifies_by_the_nearest_prototype_and_nothing_is_beside_it(subject: Subject) -> None:
    test, converted = subject.embedding("test").get(), subject.conversion(KMeans(2)).get()
    assert (test.black_box == NO_CLASS).all()
    # by hand: the class of the nearest prototype in the space of the prototypes
    z = test.in_space(converted.metric).z.astype(np.float64)
    centers = converted.prototypes.centers.astype(np.float64)
    nearest = ((z[:, None] - centers[None]) ** 2).sum(2).argmin(1)
    right = np.mean(converted.prototypes.classes[nearest] == test.labels)
    assert converted.summary.accuracy_kmex == pytest.approx(right)
    assert converted.summary.accuracy_black_box is None
    assert converted.summary.agreement is None
    assert "black_box" not in subject.geometry().get().accuracy
    sweep = subject.sweep(KMeans(1)).get()
    assert sweep.accuracy_black_box is None
    assert np.isnan(sweep.agreement).all()
    assert np.isfinite(sweep.accuracy).all()
    assert subject.sweep(KMeans(1)).peek() is not None  # what is stored can be read


def test_every_metric_is_there_or_says_why(subject: Subject) -> None:
    measured = evaluate([subject], KMeans(2), [0], 6)
    assert not measured.predicts
    assert set(measured.metrics) == set(METRICS)  # none of a black box
    missing = {name for name, value in measured.metrics.items() if value.mean is None}
    divergences = {name for name in METRICS if name.startswith("faithfulness")}
    assert missing == {"agreement"} | divergences
    assert all("predicts none of the classes" in measured.metrics[name].reason for name in missing)
    scores = subject.relevance_scores(KMeans(2), 6).peek()
    assert scores is not None
    assert not scores.has_black_box
    for name in ("drop_black_box", "increase_black_box_random", "curve_black_box", "divergence"):
        assert np.isnan(getattr(scores, name)).all()
    assert np.isfinite(scores.curve).all()


def test_scores_of_kmex_are_those_that_it_has_beside_a_black_box(store: Store, tmp_path: Path) -> None:
    # the same network, once taken at its word: its first three outputs are the classes
    encoders, other = encoder(store, tmp_path / "pictures"), Store(tmp_path / "other")
    beside = replace(encoders, class_outputs=(0, 1, 2))
    models.save(other, beside, models.load(store, "enc").model)
    found = [
        Subject(where, info, dataset_of(info), "cpu").relevance_scores(KMeans(2), 6).get()
        for where, info in ((store, encoders), (other, beside))
    ]
    assert found[1].has_black_box
    for name in ("drop", "increase", "drop_random", "curve", "curve_random", "curve_reference"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), rtol=1e-4, atol=1e-5)


def test_an_explanation_has_no_black_box(subject: Subject) -> None:
    module = subject.explainer(KMeans(2))
    (_, images, _), *_ = subject.inputs("test", 2)
    explained = module.explain(images[0])
    assert explained.black_box is None
    assert explained.predicted_black_box is None
    assert explained.black_box_map is None
    assert module.class_maps(images, [0, 1])[1] is None
    with pytest.raises(InputError, match="no score to explain"):
        module.explain(images[0], target="score")
    why = subject.relevance_scores(KMeans(2), 6, maps=MapKind("score")).why_not()
    assert why is not None
    assert "no score to explain" in why.reason


def test_commands_say_nothing_of_a_black_box(subject: Subject, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    picture.write_bytes(encoded(subject.data.split("test").image(0)))
    named = ("--model", "enc")
    for arguments in (
        ("convert", *named, "--k", "2"),
        ("sweep", *named),
        ("evaluate", *named, "--k", "2", "--images", "6", "--metrics", "accuracy,calibration_error,average_drop"),
        ("compare", "--models", "enc", "--metrics", "accuracy,ghosting"),
        ("compare", "--models", "enc", "--metrics", "accuracy", "--format", "latex"),
        ("compare", "--models", "enc", "--metrics", "accuracy", "--format", "csv"),
        ("patches", *named, "--k", "2", "--blocks", "several"),
        ("explain", *named, "--k", "2", "--image", str(picture), "--out", str(tmp_path / "out")),
    ):
        quiet(output(*arguments).replace(str(tmp_path), ""))
    assert not (tmp_path / "out" / "black-box-map.png").exists()
    answer = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert answer["black_box"] is None
    assert answer["agree"] is None
    answer = json.loads(output("convert", *named, "--k", "2", "--json"))
    assert answer["accuracy_black_box"] is None
    assert answer["agreement"] is None
    rows = json.loads(output("sweep", *named, "--json"))["rows"]
    assert not any("black_box" in name or "agreement" in name for name in rows[0])


def test_tables_and_exports_have_no_column_of_it(subject: Subject, tmp_path: Path) -> None:
    subject.embedding_map().get()
    for name in ("sweep", "embedding-map", "relevance-ordering", "relevance-scores", "metrics", "confusion"):
        images = ("--images", "6") if "relevance" in name or name == "metrics" else ()
        k = () if name == "sweep" else ("--k", "2")
        text = output("table", name, "--model", "enc", *k, *images)
        assert "black_box" not in text.splitlines()[0]
        assert "nan" not in text.lower()
    refused = CliRunner().invoke(app, ["table", "confusion-black-box", "--model", "enc"])
    assert refused.exit_code == 2
    assert "only KMEx classifies" in refused.stderr
    file = tmp_path / "images.parquet"
    output("export", "--model", "enc", "--k", "2", "--parquet", str(file))
    assert pq.read_table(file)["black_box"].null_count == 54
    card = tmp_path / "card.md"
    output("export", "--model", "enc", "--k", "2", "--card", str(card))
    quiet(card.read_text().split("```")[0].split("---")[-1])
    report = tmp_path / "report.html"
    output("export", "--model", "enc", "--k", "2", "--html", str(report))
    # the component's own words come with every report
    assert "Black box" not in re.sub(r"<script.*?</script>", "", report.read_text(), flags=re.DOTALL)


def test_values_without_predictions_are_missing_not_zero() -> None:
    none, labels = np.full(4, NO_CLASS), np.array([0, 1, 2, 0])
    assert black_box_accuracy(none, labels) is None
    assert black_box_agreement(labels, none) is None
    assert black_box_accuracy(labels, labels) == 1.0
    assert black_box_agreement(np.array([0, 1, 0, 0]), labels) == 0.75


def test_what_such_a_network_does_is_said_in_a_sentence(info: ModelInfo) -> None:
    assert "trained on other classes (7 of them)" in info.role
    assert "is an encoder" in replace(info, outputs=0, head_path="none").role
    assert replace(info, outputs=None).role == ""
    assert replace(info, class_outputs=(4, 1, 0)).role == ""
