"""The page Large embeddings and its routes: what it says and sends, hostile addresses and folders, and that no rows are
read."""

from __future__ import annotations

import gzip
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.claims.large import NO_SUGGESTION, at_k
from app.claims.suggestion import class_reason, suggested
from app.routes import sharded as routes
from kmex_core.base import jobs
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.commands.embedding_map import density_map_job
from kmex_core.data import registry as datasets
from kmex_core.data.display import displayed
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.scale import generated, tiles
from kmex_core.scale.density import DensityMap
from kmex_core.scale.engine import Local
from kmex_core.scale.sharded import ROOM, ShardedEmbedding, ShardWriter
from kmex_core.scale.suggestion import stored_suggestion
from kmex_core.scale.sweep import stored_sweep
from tests.helpers.pages import clear_caches, data_of, healthy, open_link
from tests.helpers.sharded import fitted, small, swept, whole

NAME = "many"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding with prototypes and density map; tests copy it."""
    return whole(tmp_path_factory.mktemp("sharded") / NAME).folder


@pytest.fixture
def embedding(made: Path, store: Store) -> ShardedEmbedding:
    """It in the store of a test."""
    return ShardedEmbedding.open(Path(shutil.copytree(made, store.root / ROOM / NAME)))


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=list(routes.routes())))


@pytest.fixture
def no_rows(embedding: ShardedEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no rows, and asking for some fails."""
    for part in embedding.parts:
        (embedding.folder / part.file).unlink()
    for name in ("block", "blocks", "of_class", "sample"):
        monkeypatch.delattr(ShardedEmbedding, name)


def text_of(*elements: object) -> str:
    return "\n".join(str(getattr(each, "value", "")) for each in elements)


# ---- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_rows")
def test_the_page_shows_stored_results_and_reads_no_rows(embedding: ShardedEmbedding) -> None:
    test = healthy(open_link("large", per_class="3"))
    sweep = stored_sweep(embedding)
    assert sweep is not None
    texts = [each.value for each in test.markdown]
    assert at_k(sweep, 3) in texts
    evidence = stored_suggestion(embedding, EmbeddingMetric())
    assert evidence is not None
    said = "The evidence is from a random sample of 1,000 images of"
    (suggestion,) = [text for text in texts if text.startswith(suggested(evidence))]
    assert suggestion.removeprefix(suggested(evidence)).startswith(f" {said}")
    assert any("**3,000** images · **8** dimensions · **3** classes" in text for text in texts)
    assert len(test.get("plotly_chart")) == 4
    data = data_of(test, "large")
    _, classes, counts, exemplars = sweep.at(3)
    prototypes = data["prototypes"]
    assert prototypes["class"] == classes.tolist()
    assert prototypes["count"] == counts.tolist()
    assert prototypes["nearest"] == exemplars.tolist()
    assert prototypes["title"][4] == "Prototype 2 of class 1"
    density_map = DensityMap(embedding)
    places, found = density_map.peek_prototypes(sweep), density_map.peek()
    assert places is not None
    assert found is not None
    square, first = found.square, int(sweep.sizes[:2].sum())
    expected = (places.places[first : first + 9] - [square.x, square.y]) / square.side * 2 - 1
    np.testing.assert_allclose(np.stack([prototypes["x"], prototypes["y"]], 1), expected, atol=1e-5)
    assert data["map"]["present"] == [list(each) for each in found.present]
    test.select_slider(key="per_class").set_value(1)
    healthy(test.multiselect(key="classes").set_value(["class 2"]).run())
    assert class_reason(evidence, embedding.class_names, 2) in [each.value for each in test.markdown]
    assert class_reason(evidence, embedding.class_names, 1) not in [each.value for each in test.markdown]
    data = data_of(test, "large")
    assert (data["classes"], data["prototypes"]["class"]) == ([2], [2])


def test_a_store_without_one_says_what_makes_one(store: Store) -> None:
    test = healthy(open_link("large"))
    assert "python -m kmex_core demo --large 1000000" in text_of(*test.code)
    assert not test.get("bidi_component")


def test_what_is_missing_is_offered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(jobs, "look", lambda *_: None)
    monkeypatch.setattr(jobs, "start", lambda _store, _name, arguments: started.append(tuple(arguments)))
    embedding = small(store.root / ROOM / NAME)
    test = healthy(open_link("large"))
    request = density_map_job(embedding)
    assert request.command == f"python -m kmex_core project --embeddings {NAME}"
    assert request.command in text_of(*test.code)
    healthy(next(each for each in test.button if each.label == "Draw the density map").click().run())
    assert started == [request.arguments]
    swept(embedding)
    test = healthy(open_link("large"))
    assert data_of(test, "large")["map"] is None
    assert len(data_of(test, "large")["prototypes"]["class"]) == 12
    assert NO_SUGGESTION in text_of(*test.caption)
    fitted(embedding).make(Local())
    test = healthy(open_link("large"))
    assert data_of(test, "large")["prototypes"]["x"] == []
    assert "Its prototypes are not on the density map yet" in text_of(*test.info)


def test_damaged_and_hostile_folders_are_said_and_left_out(embedding: ShardedEmbedding, store: Store) -> None:
    sharded = store.root / ROOM
    for name, manifest in (("a", b"{"), ("b", b"[]"), ("<b>c", b"{}"), ("d", gzip.compress(b"x"))):
        (sharded / name).mkdir()
        (sharded / name / "manifest.json").write_bytes(manifest)
    test = healthy(open_link("large"))
    assert len(test.warning) == 4
    assert test.selectbox(key="embedding").options == [NAME]
    assert data_of(test, "large")["map"] is not None
    (DensityMap(embedding).folder / tiles.MAP).write_text("{}")
    next(embedding.results.glob("sweep-*")).write_bytes(b"nothing")
    test = open_link("large")
    assert not test.exception
    assert "is damaged or was not written by this program" in text_of(*test.error).replace("\\", "")


def test_names_of_classes_are_texts(store: Store) -> None:
    writer = ShardWriter(store.root / ROOM / "x", 2, ("<script>", "**b** $x$ [l](http://x)"), None)
    writer.add(np.zeros((4, 2), np.float32) + np.arange(4)[:, None], np.array([0, 0, 1, 1]))
    swept(writer.finish(), 1)
    test = healthy(open_link("large"))
    data = data_of(test, "large")
    assert data["names"] == ["<script>", "**b** $x$ [l](http://x)"]
    assert (data["pictures"], data["beside"]) == ("", False)
    assert "no pictures can be shown" in text_of(*test.caption)


# ---- the routes -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_rows")
def test_tiles_come_as_they_are_kept(embedding: ShardedEmbedding, client: TestClient) -> None:
    density_map = DensityMap(embedding)
    answer = client.get(f"/{routes.tiles_base(embedding, density_map.spec.key)}0/0-0.tile")
    stored = tiles.tile_path(density_map.folder, 0, 0, 0).read_bytes()
    assert answer.status_code == 200
    assert answer.content == gzip.decompress(stored), "the browser unpacks it"
    assert "immutable" in answer.headers["Cache-Control"]
    assert int(answer.headers["Content-Length"]) == len(stored)


@pytest.mark.parametrize(
    "address",
    ["tiles/{key}/0/1-0", "tiles/{key}/0/0-1", "tiles/{key}/9/0-0", "tiles/{key}/-1/0-0", "tiles/{key}/2/0-4",
     "tiles/{key}/00/0-0", "tiles/{key}/0/0-0.gz%00", "tiles/{key}/2/99999999999999999999-0", "tiles/{key}/2/%2e%2e-0",
     "tiles/0000/0/0-0", "tiles/..%2f..%2f/0/0-0", "tiles/{key}/²/0-0"],
)  # fmt: skip
def test_hostile_tile_addresses_are_not_found(embedding: ShardedEmbedding, client: TestClient, address: str) -> None:
    key = DensityMap(embedding).spec.key
    for name in (NAME, "other", "..", "%2e%2e", "a" * 300):
        answer = client.get(f"/sharded/{name}/{address.format(key=key)}.tile")
        assert answer.status_code == 404, (name, address)


def test_no_link_leads_out_of_the_folder(embedding: ShardedEmbedding, client: TestClient, tmp_path: Path) -> None:
    density_map = DensityMap(embedding)
    base = routes.tiles_base(embedding, density_map.spec.key)
    (tmp_path / "secret" / "1").mkdir(parents=True)
    (tmp_path / "secret" / "1" / "0-0.gz").write_bytes(gzip.compress(b"secret"))
    path = tiles.tile_path(density_map.folder, 0, 0, 0)
    path.unlink()
    path.symlink_to(tmp_path / "secret" / "1" / "0-0.gz")
    assert client.get(f"/{base}0/0-0.tile").status_code == 404
    shutil.rmtree(density_map.folder / "1")
    (density_map.folder / "1").symlink_to(tmp_path / "secret" / "1")
    assert client.get(f"/{base}1/0-0.tile").status_code == 404
    path.unlink()
    with path.open("wb") as file:
        os.truncate(file.fileno(), tiles.MOST_TILE + 1)
    assert client.get(f"/{base}0/0-0.tile").status_code == 404


@pytest.mark.usefixtures("no_rows")
def test_pictures_are_drawn_from_the_numbers(embedding: ShardedEmbedding, client: TestClient) -> None:
    base = routes.pictures_base(embedding)
    answer = client.get(f"/{base}2999.png")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert embedding.images is not None
    np.testing.assert_array_equal(shown, generated.picture(embedding.images, 3, 2999))
    state = base.rstrip("/").rpartition("/")[2]
    for address in ("3000.png", "-1.png", "01.png", "1e3.png", "99999999999.png", "1.jpg"):
        assert client.get(f"/{base}{address}").status_code == 404, address
    assert client.get(f"/{base.replace(state, '0' * 20)}1.png").status_code == 404


def written(store: Store, name: str, images: dict[str, object], spec: dict[str, object] | None) -> ShardedEmbedding:
    writer = ShardWriter(store.root / ROOM / name, 2, list("0123456789"), images, spec=spec)
    writer.add(np.zeros((20, 2), np.float32), np.arange(20) % 10)
    return writer.finish()


def test_pictures_of_a_data_set_are_its_own(
    store: Store, client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = datasets.load(DatasetSpec("digits"))
    images: dict[str, object] = {"kind": "dataset", "dataset": {"name": "digits"}, "split": "train"}
    own = written(store, "own", images, {"data": data.fingerprint})
    answer = client.get(f"/{routes.pictures_base(own)}7.png")
    expected = displayed(data.split("train").image(7), 96, 96)
    shown, own_image = Image.open(io.BytesIO(answer.content)), Image.fromarray(np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), np.asarray(own_image.convert("RGB")))
    changed = written(store, "changed", images, {"data": "another state"})
    elsewhere = written(store, "elsewhere", images | {"dataset": {"name": str(tmp_path)}}, None)
    hostile: list[object] = [{"name": 3}, {"nome": "digits"}, {}, "digits", {"name": "digits", "image_size": "9"}]
    odd = [written(store, f"odd{n}", images | {"dataset": given}, None) for n, given in enumerate(hostile)]
    odd.append(written(store, "split", images | {"split": ["train"]}, None))
    monkeypatch.setenv("KMEX_DATA_ROOTS", str(tmp_path / "data"))
    for each in (changed, elsewhere, *odd):
        assert client.get(f"/{routes.pictures_base(each)}7.png").status_code == 404, each.name


def test_the_address_names_what_can_be_chosen(embedding: ShardedEmbedding) -> None:
    clear_caches()
    test = healthy(open_link("large", embedding="none", per_class="77", classes="class 9"))
    said = text_of(*test.warning)
    for asked in ("embedding 'none'", "per", "'class 9'"):
        assert asked in said.replace("\\", "")
    assert test.select_slider(key="per_class").value == 4
