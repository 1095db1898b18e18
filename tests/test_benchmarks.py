"""Benchmarks: what is counted, what the report may claim, the fit of growth, and all of them in small."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from benchmarks import __main__ as main
from benchmarks import extraction, gpu, growth, parts, relevance, report, results, rivals, scale, timing
from benchmarks.timing import Taken, alternated, compared, ratio
from tests.helpers.paths import ROOT

# ---- timing ---------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 2 * self.now


class Alternatives:
    """Works that take so many seconds, one after the other, and the order in which they ran."""

    def __init__(self, clock: Clock, **seconds: list[float]) -> None:
        self.order = ""
        self._clock, self._left = clock, {name: list(each) for name, each in seconds.items()}

    def prepared(self) -> dict[str, Callable[[], timing.Work]]:
        return {name: partial(self._prepare, name) for name in self._left}

    def _prepare(self, name: str) -> timing.Work:
        return partial(self._run, name)

    def _run(self, name: str) -> str:
        self.order += name
        self._clock.now += self._left[name].pop(0)
        return name


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing, "time", found)
    return found


def test_alternatives_run_in_turn_and_backwards_and_the_first_round_is_not_counted(clock: Clock) -> None:
    works = Alternatives(clock, a=[9, 1, 2, 3], b=[9, 4, 5, 6])
    taken = alternated(works.prepared(), rounds=3, apart=False)
    assert works.order == "abbaabba"
    assert taken["a"].seconds == [1, 2, 3]
    assert taken["b"].processor == [8, 10, 12]
    assert taken["b"].result == "b"


def test_what_is_slow_runs_less_often_and_its_first_round_counts(clock: Clock) -> None:
    works = Alternatives(clock, fast=[1] * 9, slow=[30] * 9)
    taken = alternated(works.prepared(), rounds=5, patience=50, apart=False)
    assert len(taken["fast"].seconds) == 5
    assert len(taken["slow"].seconds) == timing.FEWEST
    assert works.order.count("slow") == timing.FEWEST


def test_a_ratio_is_of_the_same_rounds() -> None:
    ours, rival = [1.0, 2.0, 4.0, 1.0, 9.0], [3.0, 4.0, 20.0, 2.0]
    found = ratio(ours, rival)  # 3, 2, 5, 2: the quotient of medians would be 1.75
    assert (found.median, found.low, found.high, found.rounds) == (2.5, 2.0, 3.5, 4)


def test_rows_have_rates_quartiles_and_ratios() -> None:
    taken = {"ours": Taken([1, 2, 4], [1, 1, 1], 10.04), "theirs": Taken([2, 2, 2], [1, 1, 1])}
    ours, theirs = compared("work", taken, "ours", items=100, unit="images/s")
    assert (ours["median"], ours["quartiles"]) == (50, [37.5, 75])
    assert ours["better"] == "higher"
    assert (ours["memory"], ours["ours"]) == (10.0, True)
    assert theirs["ratio"] == 1  # 2, 1, 0.5
    assert "memory" not in theirs


def test_an_alternative_apart_has_its_own_memory() -> None:
    taken = alternated({"small": partial(partial, len, "x"), "large": partial(partial, np.ones, 8_000_000)}, rounds=1)
    assert taken["large"].result.sum() == 8_000_000
    assert taken["small"].memory is not None
    assert taken["large"].memory is not None
    assert taken["small"].memory < 20
    assert 60 < taken["large"].memory < 200  # 64 MB, and what sends it back


def test_rivals_that_are_missing_are_named() -> None:
    assert timing.missing({"json": "json"}) == {}
    row = timing.missing({"nothing of the kind": "no_such_module", "json": "json"})
    assert row["what"] == "Not installed, so not measured: nothing of the kind"


# ---- the report -----------------------------------------------------------------------------------------------------

MACHINE = {"cores": 2, "processor": "x", "system": "Linux", "versions": {"torch": "1"}, "date": "2026-01-01"}


def step_rows(**seconds: list[float]) -> list[dict[str, Any]]:
    ours = Taken([1.0] * 5, [1.0] * 5, 5.0)
    return compared("step", {"ours": ours, **{who: Taken(each, each, 7.0) for who, each in seconds.items()}}, "ours")


def test_only_quartiles_on_one_side_of_1_make_a_claim() -> None:
    rows = step_rows(slow=[2, 2.1, 2, 1.9, 2], fast=[0.5] * 5, alike=[0.9, 1.2, 1.1, 1.0, 0.95], near=[1.003] * 5)
    claims = report.claims(rows)
    assert claims == [
        "KMEx Explorer is faster than slow (2.00×, 2.00 to 2.00).",
        "KMEx Explorer is slower than fast (0.50×, 0.50 to 0.50).",
        "Not told apart from KMEx Explorer: alike (1.00×, 0.95 to 1.10); near (1.00×, 1.00 to 1.00).",
    ]
    assert report.claims(step_rows()) == []
    assert report.claims(step_rows(slow=[2.0, 2.0])) == [
        "Too few rounds to tell who is faster: slow (2.00×, 2.00 to 2.00)."
    ]


def test_the_page_has_the_figures_that_it_names_and_only_computed_claims() -> None:
    plain = [
        {"what": "a page", "median": 0.4, "p95": 0.6, "runs": 3, "unit": "s", "target": 0.3},
        {"what": "frames", "median": 30.0, "unit": "frames/s", "target": 20},
    ]
    found: dict[str, dict[str, Any] | None] = {part.name: None for part in (*parts.BENCH, *parts.MORE)}
    found["rivals"] = {"machine": MACHINE | {"seconds": 90}, "rows": step_rows(faiss=[0.4, 0.5, 0.5, 0.5, 0.6])}
    found["pages"] = {"machine": MACHINE, "rows": plain}
    text, pictures = report.page(found, [{"machine": MACHINE | {"device": "A card"}, "rows": step_rows(b=[3.0] * 5)}])
    assert "KMEx Explorer is slower than faiss (0.50×, 0.50 to 0.50)." in text
    assert text.count("KMEx Explorer is faster than") == 1
    assert "## On a GPU: A card" in text
    assert "in 1.5 minutes" in text
    assert "| A page | 0.4 s ↓ (95%: 0.6) | 3 | ≤ 0.3 s: missed |" in text
    assert "| Frames | 30 frames/s ↑ | – | ≥ 20 frames/s: met |" in text
    assert "Not measured yet: " in text
    assert set(pictures) == {f"images/benchmarks/{name}.svg" for name in ("rivals", "pages", "gpu-0")}
    for path, picture in pictures.items():
        assert f"]({path})" in text
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_a_table_has_directions_and_units_and_no_column_without_values() -> None:
    quick = {"median": 0.26, "p95": 0.26, "worst": 0.26, "runs": 1, "unit": "s"}
    plain = [
        {"what": "resnet18: groups found", "median": 18.6, "unit": "of 20"},
        {"what": "its inertia", "median": 0.5, "unit": "%"},
        {"what": "maps", "median": 6.5, "unit": "s of a core"},
        {"what": "kmex --help", **quick},
        {"what": "an upload", **quick, "runs": 20, "worst": 0.4},
        {"what": "answers", "median": 3.0, "unit": ""},
    ]
    rates = compared("rates", {"ours": Taken([1.0] * 3), "theirs": Taken([2.0] * 3)}, "ours", 10, "images/s")
    found: dict[str, dict[str, Any] | None] = {"extraction": {"machine": MACHINE, "rows": [*rates, *plain]}}
    found["rivals"] = {"machine": MACHINE | {"versions": {"torch": "1", "faiss": "2"}}, "rows": step_rows(b=[2.0] * 3)}
    text, _ = report.page(found, [{"machine": MACHINE | {"versions": {"torch": "3"}}, "rows": plain}])
    for line in (
        "| resnet18: groups found | 18.6 of 20 ↑ | – |",
        "| Its inertia | 0.5% ↓ | – |",
        "| Maps | 6.5 s of processor time ↓ | – |",
        "| kmex --help | 0.26 s ↓ | 1 |",
        "| An upload | 0.26 s ↓ (95%: 0.26, worst: 0.4) | 20 |",
        "| Answers | 3 | – |",
        "|  | images/s ↑ (quartiles) | rounds | time beside ours ↓ |",
        "|  | time, s ↓ (quartiles) | rounds | processor time, s ↓ | memory, MB ↓ | time beside ours ↓ |",
    ):
        assert f"{line}\n" in text, line
    # of one machine, versions are joined as long as none is another
    assert text.count("2 cores (x), memory unknown, Linux; torch 1, faiss 2\n") == 1
    assert text.count("; torch 3\n") == 1


def test_hostile_names_stay_text_in_figures() -> None:
    rows = step_rows(**{"<script>&": [2.0] * 5})
    found: dict[str, dict[str, Any] | None] = {"rivals": {"machine": MACHINE, "rows": rows}}
    _, pictures = report.page(found, [])
    assert "<script>&" in "".join(ElementTree.fromstring(pictures["images/benchmarks/rivals.svg"]).itertext())


def test_the_committed_pages_are_those_of_the_committed_results(tmp_path: Path) -> None:
    report.write_docs(tmp_path)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    for path in written:
        committed = ROOT / "docs" / path.relative_to(tmp_path)
        assert path.read_text() == committed.read_text(), "run: python -m benchmarks report"


def test_results_come_back_as_they_were_kept(tmp_path: Path) -> None:
    results.write("part", MACHINE, [{"what": "x", "median": 1.5, "unit": "s"}], tmp_path)
    assert results.read("part", tmp_path) == {"machine": MACHINE, "rows": [{"what": "x", "median": 1.5, "unit": "s"}]}
    assert results.read("other", tmp_path) is None


def test_make_bench_is_planned_for_an_hour() -> None:
    assert sum(part.minutes for part in parts.BENCH) <= parts.MOST
    for part in parts.ALL.values():
        assert (ROOT / "benchmarks" / f"{part.name}.py").is_file()


def test_a_part_that_fails_keeps_its_results_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(parts.Part):
        def measure(self) -> list[dict[str, Any]]:
            raise OSError("no disk")

    class Fine(parts.Part):
        def measure(self) -> list[dict[str, Any]]:
            return [{"what": "x", "median": 1.0, "unit": "s"}]

    written: list[str] = []
    monkeypatch.setattr(main, "ALL", {"a": Broken("a", "A", "", 1), "b": Fine("b", "B", "", 1)})
    monkeypatch.setattr(main, "write", lambda name, about, rows: written.append(name))
    assert main.main(["a", "b"]) == 1
    assert written == ["b"]
    assert "Failed, and kept as they were before: a." in capsys.readouterr().err
    assert main.main(["b", "no such part"]) == 2
    assert written == ["b"]


# ---- growth ---------------------------------------------------------------------------------------------------------


def test_the_exponent_of_known_growth_is_found() -> None:
    law = growth.fitted([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)])
    assert (law.factor, law.exponent, law.error) == pytest.approx((3, 1.5, 0), abs=1e-7)
    assert growth.fitted([1, 10], [2, 200]).error is None


def test_the_fit_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    x = np.array([5, 10, 20, 40, 80.0])
    y = 0.3 * x**0.8 * random.uniform(0.7, 1.4, 5)
    law, expected = growth.fitted(list(x), list(y)), scipy.stats.linregress(np.log(x), np.log(y))
    assert (law.exponent, law.error) == pytest.approx((expected.slope, expected.stderr))


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 3]), ([1, 2, 3], [1, 2])])
def test_points_without_a_law_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two points"):
        growth.fitted(x, y)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 4, 8], [5.0, 5.5, 6.1, 8.2]),
        ([1, 2, 4, 8], [1.0, 3.0, 9.0, 30.0]),  # a line from below 0
        ([3, 1, 2], [1.0, 3.0, 2.5]),  # a falling one
        ([10, 20], [0.0, 0.0]),
    ],
)
def test_the_line_is_the_best_that_neither_begins_below_0_nor_falls(x: list[float], y: list[float]) -> None:
    (fixed, each), _ = scipy.optimize.nnls(np.column_stack([np.ones(len(x)), x]), np.array(y))
    line = growth.straight(x, y)
    assert (line.fixed, line.each) == pytest.approx((fixed, each), abs=1e-9)
    assert line.at(3) == pytest.approx(fixed + 3 * each)


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [-1, 3]), ([0, 2], [1, 3]), ([1], [])])
def test_points_without_a_line_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two points"):
        growth.straight(x, y)


def test_costs_are_in_proportion_unless_fixed_ones_dominate_the_smallest_size() -> None:
    def rows(fixed: float, each: float) -> list[dict[str, Any]]:
        return [scale_row("x", "images", images, fixed + each * images) for images in (1000, 2000, 4000)]

    mostly_fixed, hardly = growth.cost(rows(3, 1e-3), "median"), growth.cost(rows(0.4, 1e-3), "median")
    assert (mostly_fixed.fixed, mostly_fixed.each) == pytest.approx((3, 1e-3))
    assert (hardly.fixed, hardly.each) == pytest.approx((0, 4.4 / 4000))
    assert growth.cost(rows(3, 1e-3), "processor").fixed == pytest.approx(6)  # twice the seconds, see `scale_row`
    for without_a_line in (rows(3, -1e-4), rows(3, 1e-3)[:1]):
        (*_, largest) = without_a_line
        found = growth.cost(without_a_line, "median")
        assert (found.fixed, found.each) == pytest.approx((0, largest["median"] / largest["at"]))


def scale_row(step: str, axis: str, at: int, seconds: float, **more: Any) -> dict[str, Any]:
    size = {"images": 1000, "dimensions": 512, "k": 20, "classes": 10, "processor": 2 * seconds, "runs": 3, "unit": "s"}
    return {"what": step, "cost": step, "axis": axis, "at": at, "median": seconds, **size, **more}


def test_what_many_images_need_is_computed_from_what_was_measured() -> None:
    memory = {"dimensions": 512, "unit": "MB", "runs": 1}
    rows = [
        *(scale_row("sweep", "images", images, images / 1e4) for images in (1000, 2000, 4000)),
        *(scale_row("evaluation", "images", images, 2 + images / 1e4) for images in (1000, 2000, 4000)),
        scale_row("sweep in parts, by coresets", "images", 4000, 1.0, loss=0.0123),
        *(
            {"memory of": "sweep", "in parts": False, "images": n, "median": 10 + n / 100, **memory}
            for n in (1000, 2000, 4000)
        ),
        *(
            {"memory of": "sweep in parts, by coresets", "in parts": True, "images": n, "median": 90.0, **memory}
            for n in (1000, 2000)
        ),
        {"disk": "bytes", "images": 4000, "dimensions": 512, "median": 1500.0, "unit": "B"},
    ]
    text, pictures = growth.page({"machine": MACHINE, "rows": rows})
    for cell in (
        "| sweep (512 dimensions, k = 1 to 20, 10 classes) | 4,000 images in 0.4 s | – | 100 µs | 100 s | 0.0556 |",
        "| evaluation (512 dimensions, k = 20, 10 classes) | 4,000 images in 2.4 s | 2 s | 100 µs | 102 s | 0.0567 |",
        "| sweep | 1.00 ± 0.00 (1,000 to 4,000) | – | – | – |",
        "exponent 1.00 from 1,000 to 2,000 images, 1.00 from 2,000 to 4,000 images",
        "the inertia was 1.23% larger",
        "by a factor of 25,000",
        "| embedding, as numbers | 100,000,000 × 512 dimensions × 4 bytes | 205 GB |",
        "| 100,000,000 × 1,500 bytes for each row of 512 dimensions | 150 GB |",
        "| 100,000,000 × 200 µs of a core for each image | 5.56 core hours |",
        "| 4 s + 100,000,000 × 200 µs of a core for each image | 5.56 core hours |",
        "| 205 GB for the embedding + 10 MB + 100,000,000 × 10,000 bytes for each image | 1,205 GB |",
        "that is 10 MB whatever their number and 10,000 MB for each million images.",
        "| as measured at 2,000 images: that of a coreset and a part of the rows | 0.09 GB |",
    ):
        assert cell in text, cell
    assert ElementTree.fromstring(pictures[growth.FIGURE]).tag.endswith("svg")


# ---- all of them in small -------------------------------------------------------------------------------------------


def test_rivals_and_ours_find_clusters_of_about_the_same_inertia() -> None:
    z, labels = rivals.embedding(600, 8)
    assert np.bincount(labels).tolist() == [60] * 10
    absent = timing.missing({name: needs for name, (needs, _) in rivals.KMEANS.items()}).get("left out", [])
    found = {name: work(z, labels, 3) for name, (_, work) in rivals.KMEANS.items() if name not in absent}
    assert len(found) >= 4
    assert max(found.values()) < 1.3 * min(found.values())
    centers = z[[np.flatnonzero(labels == 0)[0]]]
    assert rivals._inertia_of(z, centers) == pytest.approx(float(np.square(z - centers).sum()), rel=1e-4)
    for whole in (rivals._converted, rivals._released):
        whole(z, labels, 2)


def test_zennit_one_by_one_has_the_same_maps() -> None:
    encoder, _ = gpu._network("resnet20", 16)
    image = torch.randn(1, 3, 16, 16).clamp(-2, 2)
    with torch.no_grad():
        z = encoder(image)
    starts = torch.randn(3, z.shape[1])
    ours, theirs = (way(encoder, image, z, starts)() for way in (relevance.one_pass, relevance.pass_each))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("step", sorted(set(scale.STEPS) - {"embedding map"}))  # UMAP would compile itself
def test_a_step_of_growth_works_in_small(step: str) -> None:
    size = scale.Size(60, 8, 2, 2)
    prepare, axes = scale.STEPS[step]
    row = scale._timed(step, "images", 60, size, prepare(size), 0.0)
    assert row["median"] > 0
    assert set(axes) <= set(growth.AXES)


def test_a_sweep_in_parts_is_measured_with_and_without_coresets(tmp_path: Path) -> None:
    scale._writing(tmp_path / "few", scale.Size(60, 4, 2, 2))()
    assert scale._read(tmp_path / "few") == 60
    scale._sweep_in_parts(tmp_path / "few", 2, scale.WHOLE)
    assert scale._loss(tmp_path / "few") == 0
    scale._sweep_in_parts(tmp_path / "few", 2, 0)
    assert scale._loss(tmp_path / "few") >= 0


def test_what_a_graphics_card_does_is_measured_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def photos(*values: Any) -> list[dict[str, Any]]:  # a test of extraction runs it
        asked.append(values)
        return [{"what": "JPEG files", "median": 1.0, "unit": "images/s"}]

    monkeypatch.setattr(extraction, "on_gpu", photos)
    sizes = gpu.Sizes(
        "resnet20", "resnet20", arrays=8, side=16, files=4, photo_side=16, batch=4, images=60, dimensions=4, pair=20,
        ks=(2,), reach=2, maps=2, trained=8, kinds=("blackbox", "flint"), rounds=1,
    )  # fmt: skip
    rows = gpu.measure(sizes, "cpu", tmp_path)
    assert asked == [(4, "cpu", "resnet20", 16)]
    kept = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert kept["machine"]["device"] == "CPU"
    assert [row["what"] for row in kept["rows"]] == [row["what"] for row in rows]
    steps = " ".join(row["what"] for row in rows)
    for step in (
        "in memory",
        "JPEG files",
        "k-means of each class",
        "conversion",
        "sweep",
        "maps",
        "training of flint",
    ):
        assert step in steps
    assert "flash-kmeans" in steps  # is named as missing
    text, _ = report.page({}, [kept])
    assert "## On a GPU: CPU" in text


def test_a_step_that_fails_on_a_card_is_reported_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no such file")

    monkeypatch.setattr(gpu, "_photos", broken)
    for name in ("_arrays", "_conversion", "_sweep", "_training"):
        monkeypatch.setattr(gpu, name, lambda *_: [])
    sizes = gpu.Sizes("resnet20", side=16, maps=1, rounds=1)
    with pytest.raises(RuntimeError, match="not measured: broken"):
        gpu.measure(sizes, "cpu", tmp_path)
    assert json.loads((tmp_path / "gpu-cpu.json").read_text())["rows"]
