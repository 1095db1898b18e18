"""The command line as people run it: real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kmex_core.base.files import read_file
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands import app
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder
from tests.helpers.paths import ROOT
from tests.helpers.pictures import encoded


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kmex_core", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def answer(*arguments: str) -> dict[str, Any]:
    """The JSON of a command that must succeed, run in this process (torch is imported already)."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def fails(code: int, message: str, *arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    data = datasets.load(DatasetSpec("digits"))
    path = tmp_path / "digit.png"
    path.write_bytes(encoded(data.split("test").image(100)))
    return path


def test_a_real_process_answers_json_on_stdout_and_progress_on_stderr(store: Store) -> None:
    result = run("convert", "--model", "digits", "--k", "3", "--json")
    assert result.returncode == 0
    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert "Training images" in result.stderr
    promised = "model dataset k seed accuracy_black_box accuracy_kmex agreement ghosting seconds"
    assert set(promised.split()) <= set(found)
    assert found["model"] == "digits"
    assert found["k"] == 3
    assert 0.9 < found["accuracy_kmex"] <= 1
    usage = run("convert", "--model", "digits", "--k", "many")
    assert usage.returncode == 2
    unknown = run("convert", "--model", "digit")
    assert unknown.returncode == 2
    assert "did you mean 'digits'" in unknown.stderr
    assert unknown.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["convert", "--model", "digits", "--k", "many"], 2, "--k"),
        (["convert"], 2, "--model"),
        (["convert", "--model", "digits", "--k"], 2, "--k"),
        (["convert", "--model", "digits", "--nonsense"], 2, "--nonsense"),
        (["convort"], 2, "convort"),
        (["convert", "--model", "digits", "--device", "meta"], 2, "'meta' cannot be used"),
        (["convert", "--model", "digits", "--device", "cuda:-1"], 2, "cannot be used"),
        (["convert", "--model", "digits", "--seed", str(2**32)], 2, "--seed"),
        (["evaluate", "--model", "digits", "--runs", "1000000000"], 2, "--runs"),
        (["train", "--dataset", "~nosuchuser/data", "--name", "x"], 2, "no such user"),
        (["train", "--dataset", "a" * 300, "--name", "x"], 2, "cannot be a path"),
        (["datasets", "--data-root", "~nosuchuser"], 2, "no such user"),
        (["delete", "--model", "digits-flint"], 2, "--yes"),
    ],
)
def test_every_error_is_one_json_object_under_json(demo: Store, arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    assert message in json.loads(result.stdout)["error"]
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Stopped."),
        (MemoryError(), 1, "Not enough memory"),
        (PermissionError(13, "Permission denied", "/somewhere"), 1, "/somewhere: Permission denied"),
        (ZeroDivisionError("division by zero"), 1, "Unexpected error (ZeroDivisionError)"),
    ],
)
def test_whatever_happens_inside_a_command_has_its_exit_code_and_sentence(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(models, "list_models", fail)
    result = CliRunner().invoke(app, ["models", "--json"])
    assert result.exit_code == code
    assert message in json.loads(result.stdout)["error"]
    assert "Traceback" not in result.output
    if code == 1 and isinstance(error, ZeroDivisionError):
        log = Path(json.loads(result.stdout)["error"].rpartition(" ")[2])
        assert "division by zero" in log.read_text()
        log.unlink()


def test_ctrl_c_ends_a_real_process_with_130_and_one_json_object(store: Store) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kmex_core", "evaluate", "--model", "digits", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's `&` ignores it
    )
    assert process.stderr is not None
    process.stderr.read(1)  # it has begun to work
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(stdout) == {"error": "Stopped."}
    assert "Stopped." in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16", "koi8-r"])
def test_any_output_encoding(demo: Store, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    result = subprocess.run(
        [sys.executable, "-m", "kmex_core", "sweep", "--model", "digits", "--k", "5"], capture_output=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode(encoding)
    assert ("accuracy ^" in text) == (encoding != "utf-16")
    assert ("accuracy ↑" in text) == (encoding == "utf-16")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_stop_nothing(demo: Store, closed: str, tmp_path: Path) -> None:
    out = tmp_path / "digits.safetensors"
    command = f"{sys.executable} -m kmex_core export --model digits --out {out} {closed}"
    assert subprocess.run(command, shell=True, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    assert out.stat().st_size > 1000


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["datasets"],
        ["models"],
        ["train"],
        ["convert"],
        ["explain"],
        ["sweep"],
        ["project"],
        ["evaluate"],
        ["compare"],
        ["demo"],
    ],
)
def test_help_teaches(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_data_sets_and_models_are_listed(demo: Store) -> None:
    listed = {entry["name"]: entry for entry in answer("datasets")["datasets"]}
    assert set(listed) == set(datasets.DATASETS)
    assert listed["digits"]["available"]
    assert not listed["svhn"]["available"]
    found = [
        (model["name"], model["kind"], model["dataset"], model["backbone"]) for model in answer("models")["models"]
    ]
    assert found == [
        ("digits", "blackbox", "digits", "resnet20"),
        *((f"digits-{kind}", kind, "digits", "resnet20") for kind in ("flint", "protopnet", "protovae")),
        ("faces", "blackbox", "faces", "resnet20"),
    ]


def test_train_convert_explain(store: Store, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", ("left", "right"), 20, 8, size=32)
    trained = answer(
        "train",
        "--dataset",
        str(folder),
        "--backbone",
        "resnet20",
        "--epochs",
        "6",
        "--batch-size",
        "10",
        "--name",
        "stripes",
        "--seed",
        "4",
    )
    assert trained["model"] == "stripes"
    assert trained["accuracy"] > 0.8
    assert "stripes" in {model["name"] for model in answer("models")["models"]}
    converted = answer("convert", "--model", "stripes", "--k", "2", "--seed", "1")
    assert converted["prototypes"] == 4
    assert abs(converted["accuracy_kmex"] - converted["accuracy_black_box"]) < 0.2
    picture = next((folder / "test" / "right").glob("*.png"))
    found = answer("explain", "--model", "stripes", "--k", "2", "--image", str(picture), "--out", str(tmp_path / "out"))
    assert found["prototypes"][0]["class"] == found["kmex"]["class"]


def test_a_baseline_is_trained_and_converted(store: Store, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", ("left", "right"), 20, 8, size=32)
    asked = [
        "train",
        "protopnet",
        "--dataset",
        str(folder),
        "--backbone",
        "resnet20",
        "--epochs",
        "3",
        "--k",
        "2",
        "--batch-size",
        "10",
        "--set",
        "warm=1",
        "--set",
        "l1=1e-4",
        "--name",
        "net",
    ]
    assert answer(*asked)["kind"] == "protopnet"
    info = models.describe(store, "net")
    assert (info.k, info.options["warm"], info.options["l1"]) == (2, 1, 1e-4)
    assert answer("convert", "--model", "net", "--k", "3")["prototypes"] == 6
    fails(2, "Expected NAME=NUMBER, got 'warm'", *asked, "--set", "warm")
    fails(2, "has no option 'warmth'; known: cross_entropy", *asked, "--set", "warmth=1")


def test_explain_writes_maps_that_agree_with_its_answer(demo: Store, seven: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    found = answer("explain", "--model", "digits", "--image", str(seven), "--out", str(out), "--top", "2")
    assert found["black_box"]["class"] == found["kmex"]["class"] == "4"
    assert (found["target"], found["method"]) == ("margin", "masked-gradients")
    assert sum(found["kmex"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    maps, _ = read_file(out / "maps.safetensors")
    for one in found["prototypes"]:
        assert maps[f"prototype-{one['id']}"].shape == (32, 32)
        assert {"id", "class", "similarity", "importance", "training_image", "rival", "error", "verdict"} <= set(one)
        assert one["error"] < 0.1  # of 16 masks
        assert set(one["verdict"]) >= {"margin", "random", "brightness", "cosine", "specificity", "depends_on_rival"}
        for name in ("map", "image", "image-map"):
            assert (out / f"prototype-{one['id']}-{name}.png").stat().st_size > 100
    assert json.loads((out / "explanation.json").read_text()) == found
    assert found["seen"] == {"left": 0, "top": 0, "right": 1, "bottom": 1}
    assert found["prototypes"][0]["training_image_seen"] == found["seen"]
    assert (out / "black-box-map.png").exists()


def test_explain_as_published_and_against_a_chosen_rival(demo: Store, seven: Path, tmp_path: Path) -> None:
    asked = ("explain", "--model", "digits", "--image", str(seven), "--top", "1")
    out = tmp_path / "published"
    found = answer(*asked, "--target", "similarity", "--method", "prp", "--out", str(out))
    maps, _ = read_file(out / "maps.safetensors")
    (one,) = found["prototypes"]
    assert one["rival"] is None
    assert maps[f"prototype-{one['id']}"].sum() == pytest.approx(one["similarity"], rel=5e-3)
    assert one["verdict"]["depends_on_rival"] is False
    (one,) = answer(*asked, "--rival", "7", "--out", str(tmp_path / "rival"))["prototypes"]
    assert one["rival"] == 7
    fails(2, "There is no rival '50'", *asked, "--rival", "50", "--out", str(tmp_path / "none"))
    fails(2, "no target named 'margins': did you mean 'margin'", *asked, "--target", "margins", "--out", str(out / "x"))


def test_a_picture_of_the_test_split_is_explained_as_the_data_set_has_it(
    demo: Store, digits: ModelInfo, seven: Path, tmp_path: Path
) -> None:
    found = answer("explain", "--model", "digits", "--image", str(seven), "--out", str(tmp_path / "out"), "--top", "1")
    converted = Subject(demo, digits, dataset_of(digits)).conversion(KMeans(5)).get()
    assert found["prototypes"][0]["id"] == converted.test_activated[100]
    assert not found["unusual"]


def test_the_demo_command(demo: Store) -> None:
    assert answer("demo")["model"] == "digits"
    assert "Open the dashboard: python -m kmex_core app" in CliRunner().invoke(app, ["demo"]).output


def test_a_sweep_answers_for_each_k(demo: Store) -> None:
    found = answer("sweep", "--model", "digits", "--k", "1:3")
    assert [row["k"] for row in found["rows"]] == [1, 2, 3]
    assert [row["seed"] for row in found["rows"]] == [0, 0, 0]
    assert (found["test_images"], found["rows"][0]["diversity"]) == (500, None)
    assert found["rows"][2]["accuracy_kmex"] == answer("convert", "--model", "digits", "--k", "3")["accuracy_kmex"]
    for row in found["rows"]:
        assert 1 <= row["effective_random_low"] <= row["effective_random"] <= row["effective_random_high"] <= row["k"]
        assert 1 <= row["effective"] <= row["k"]
        for name in ("accuracy", "agreement"):
            ends = [row[f"random_{name}_low"], row[f"random_{name}"], row[f"random_{name}_high"]]
            assert 0 < ends[0] <= ends[1] <= ends[2] <= 1
    assert found["rows"][1]["effective_equidistant"] == pytest.approx(1.98171, abs=1e-5)
    text = CliRunner().invoke(app, ["sweep", "--model", "digits", "--k", "2"]).output
    assert "effective ↑  of random images" in text
    assert "20 equidistant groups have 12.0" in text
    assert f"Suggested: {found['suggested']['overall']} per class." in text
    several = answer("sweep", "--model", "digits", "--k", "2:2", "--runs", "2", "--seed", "3")["rows"]
    assert [(row["seed"], row["k"]) for row in several] == [(3, 2), (4, 2)]
    assert several[0]["agreement"] == answer("convert", "--model", "digits", "--k", "2", "--seed", "3")["agreement"]
    fails(2, "at most 50 prototypes per class", "sweep", "--model", "digits", "--k", "2:51")


def test_the_suggested_numbers_can_be_taken(demo: Store) -> None:
    suggested = answer("sweep", "--model", "digits", "--k", "1:2")["suggested"]
    numbers = [each["k"] for each in suggested["classes"]]
    assert [each["class"] for each in suggested["classes"]] == [str(digit) for digit in range(10)]
    assert suggested["overall"] == sorted(numbers)[5]
    assert all(each["reason"] for each in suggested["classes"])
    found = answer("convert", "--model", "digits", "--k", "auto")
    assert found["prototypes"] == sum(numbers)
    assert "the suggested number" in CliRunner().invoke(app, ["convert", "--model", "digits", "--k", "auto"]).output


@pytest.mark.parametrize("text", ["0x", "-1", "1.5", "car", "²"])
def test_a_number_of_prototypes_must_be_one(demo: Store, text: str) -> None:
    fails(2, f"Expected 1 or more, or auto, got {text}.", "convert", "--model", "digits", "--k", text)


def test_a_map_is_drawn_once(demo: Store) -> None:
    found = answer("project", "--model", "digits")
    assert found == answer("project", "--model", "digits")
    assert found["sample"] == found["train_images"] == 1297
    assert found["trustworthiness"] > 0.95


def test_evaluate_prints_every_metric_of_both_models(demo: Store) -> None:
    asked = ["evaluate", "--model", "digits", "--k", "2", "--images", "12"]
    found = answer(*asked)
    assert set(found["metrics"]) >= {
        "accuracy",
        "accuracy_black_box",
        "agreement",
        "ghosting",
        "diversity",
        "effective",
        "effective_random",
        "effective_equidistant",
        "faithfulness",
        "average_drop",
        "average_increase",
        "relevance_ordering",
        "relevance_ordering_random",
    }
    for one in found["metrics"].values():
        assert one["mean"] is not None
    assert (found["images"], found["test_images"], found["k"], found["seeds"]) == (12, 500, 2, [0])
    drop = found["metrics"]["average_drop"]
    assert drop["std_images"] > 0
    assert set(drop["chance"]) == {"average_drop_random"}
    assert drop["better_than_chance"] == drop["chance"]["average_drop_random"]["better"]
    assert set(found["metrics"]["faithfulness"]["chance"]) == {
        "faithfulness_uniform",
        "faithfulness_other_image",
        "faithfulness_runner_up",
    }
    assert found["metrics"]["accuracy"]["better_than_chance"] is None
    assert any(sentence.startswith("Divergence of relevance maps (") for sentence in found["finding"])
    text = CliRunner().invoke(app, asked).output
    assert "12 images" in text
    for words in ("Accuracy ↑", "Ghost prototypes ↓", "Divergence of relevance maps (nats) ↓", "Random ordering"):
        assert words in text
    runs = answer(*asked[:3], "--metrics", "accuracy, ghosting", "--runs", "3", "--seed", "5")
    assert runs["seeds"] == [5, 6, 7]
    assert len(runs["metrics"]["accuracy"]["runs"]) == 3
    assert runs["metrics"]["accuracy"]["std_seeds"] is not None
    assert set(runs["metrics"]) == {"accuracy", "accuracy_black_box", "ghosting"}
    assert found["stability"] == []  # one seed
    (stable,) = runs["stability"]
    assert stable["seeds"] == [5, 6, 7]
    assert [row["class"] for row in stable["classes"]] == [str(digit) for digit in range(10)]
    assert stable["distance"] == pytest.approx(np.mean([row["distance"] for row in stable["classes"]]))
    assert 0 <= stable["distance"] < stable["distance_random"]
    assert 0 < stable["rand_index"] <= 1
    text = CliRunner().invoke(app, [*asked[:3], "--metrics", "ghosting", "--runs", "3"]).output
    assert "Stability of 'digits + KMEx' over 3 seeds of k-means" in text
    single = answer("evaluate", "--model", "digits", "--metrics", "ghosting", "--k", "1", "--runs", "3")
    assert single["stability"][0]["rand_index"] is None
    assert single["stability"][0]["distance"] == pytest.approx(0, abs=1e-6)


def test_compare_prints_models_side_by_side(demo: Store) -> None:
    asked = ["compare", "--models", "digits", "digits", "--metrics", "accuracy,ghosting", "--k", "2"]
    output = {kind: CliRunner().invoke(app, [*asked, "--format", kind]).stdout for kind in ("text", "csv", "latex")}
    assert "digits + KMEx" in output["text"]
    assert output["csv"].splitlines()[0].startswith("model,source,dataset,k,images,metric,better,mean")
    assert len(output["csv"].splitlines()) == 1 + 3
    assert output["latex"].count(r"\\") == 1 + 2
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [row["label"] for row in found["rows"]] == ["digits", "digits + KMEx"]


def test_wrong_input_exits_with_2_and_a_sentence(demo: Store, tmp_path: Path, seven: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    out = ["--out", str(tmp_path / "out")]
    fails(2, "not a readable picture", "explain", "--model", "digits", "--image", str(tmp_path / "text.png"), *out)
    fails(2, "is empty", "explain", "--model", "digits", "--image", str(tmp_path / "empty.png"), *out)
    fails(2, "No such file", "explain", "--model", "digits", "--image", str(tmp_path / "none.png"), *out)
    fails(2, "no relevance method", "explain", "--model", "digits", "--image", str(seven), "--method", "magic", *out)
    fails(2, "did you mean 'ghosting'", "evaluate", "--model", "digits", "--metrics", "gosting")
    fails(2, "did you mean 'digits'", "compare", "--models", "digits", "digit", "--metrics", "accuracy")
    fails(2, "Unknown format 'word'", "compare", "--models", "digits", "--format", "word")
    fails(
        2, "must have the same data set", "evaluate", "--model", "digits", "--model", "faces", "--metrics", "accuracy"
    )
    fails(2, "Invalid --k '5:1'", "sweep", "--model", "digits", "--k", "5:1")
    fails(2, "Invalid model name", "convert", "--model", "../../etc/passwd")
    fails(2, "did you mean 'mnist'", "train", "--dataset", "minst", "--name", "x")
    fails(2, "did you mean 'resnet20'", "train", "--dataset", "digits", "--backbone", "resnet21", "--name", "x")
    fails(2, "no model kind named 'whitebox'", "train", "whitebox", "--dataset", "digits", "--name", "x")
    fails(2, "already", "train", "--dataset", "digits", "--backbone", "resnet20", "--name", "digits")
    assert not (tmp_path / "out").exists()


def test_failure_exits_with_1_and_json_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "file"))
    result = CliRunner().invoke(app, ["convert", "--model", "digits", "--json"])
    assert result.exit_code == 1
    assert "KMEX_CACHE" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize(
    ("name", "size"),
    [("digits", 2), ("faces", 4), ("digits-flint", 2), ("digits-protopnet", 2), ("digits-protovae", 2)],
)
def test_an_embedded_checkpoint_names_the_command_that_made_it(demo: Store, name: str, size: int) -> None:
    info = models.describe(demo, name)
    assert info.embedded
    assert models.path_of(demo, name).stat().st_size <= size * 2**20
    assert info.made_by["command"] in (ROOT / "README.md").read_text()


def test_embedded_baselines_are_small_and_as_good_as_the_black_box(demo: Store, digits: ModelInfo) -> None:
    infos = [models.describe(demo, f"digits-{kind}") for kind in ("flint", "protopnet", "protovae")]
    assert sum(models.path_of(demo, info.name).stat().st_size for info in infos) <= 5 * 2**20
    for info in infos:
        made = Subject(demo, info, dataset_of(info)).conversion(KMeans(5)).get()
        assert made.summary.accuracy_black_box == pytest.approx(info.accuracy, abs=5e-3)
        assert (made.summary.accuracy_black_box or 0) > (digits.accuracy or 1) - 0.03
        assert made.summary.ghosting == 0


def test_the_accuracy_in_the_checkpoint_is_the_one_it_has(demo: Store, digits: ModelInfo) -> None:
    assert digits.accuracy == pytest.approx(answer("convert", "--model", "digits")["accuracy_black_box"], abs=5e-3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_answer_that_nobody_can_take_ends_without_a_traceback(store: Store) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "kmex_core", "models", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("command", ["train", "import"])
@pytest.mark.parametrize("side", ["-5", "2000"])
def test_a_side_that_no_network_takes_is_wrong_usage(store: Store, command: str, side: str, seven: Path) -> None:
    more = ("--checkpoint", str(seven)) if command == "import" else ()
    fails(2, "--image-size", command, "--dataset", "digits", "--name", "x", "--image-size", side, *more)
