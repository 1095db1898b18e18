"""The one place that knows the order: from a spec to a result, each written once to the store."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.results import (
    OWN,
    Conversion,
    Embeddings,
    ModelInfo,
    PatchConversion,
    PatchPrototypes,
    Projection,
    Prototypes,
    Summary,
    training_seed,
)
from kmex_core.base.specs import DatasetSpec, EmbeddingSpec, PatchSpec, ProjectionSpec, PrototypeSpec, stable_key
from kmex_core.base.store import Arrays, Store, checked_name, read_description, read_file, remove_file
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.stages.shards import Shards

if TYPE_CHECKING:
    import torch

    from kmex_core.analysis.coverage import Curves
    from kmex_core.models.kmex import KMEx
    from kmex_core.models.training import Recipe

log = logging.getLogger(__name__)

SAMPLE = ProjectionSpec("").sample


OPEN = 4
LOOK_EVERY, LOOK_SHARE, QUICK = 1.0, 20.0, 0.05


class _Open:
    """A data set that is kept open, and whether its files have changed since.

    Its directories are looked at once a second at most, and for a twentieth of the time at most; where that takes long,
    in the background, so nobody waits for it.
    """

    def __init__(self, data: datasets.ImageDataset) -> None:
        self.data = data
        self._state, self._took = self._look()
        self._looked, self._stale, self._looking = time.monotonic(), False, False

    def changed(self) -> bool:
        """Whether a file has changed, as far as is known."""
        due = time.monotonic() - self._looked > max(LOOK_EVERY, LOOK_SHARE * self._took)
        if due and not self._stale and not self._looking:
            self._looking = True
            if self._took > QUICK:
                threading.Thread(target=self._again, daemon=True).start()
            else:
                self._again()
        return self._stale

    def _again(self) -> None:
        try:
            state, self._took = self._look()
            self._stale = state != self._state
        finally:
            self._looked, self._looking = time.monotonic(), False

    def _look(self) -> tuple[str, float]:
        started = time.monotonic()
        return datasets.signature(self.data.watched), time.monotonic() - started


_opened: dict[DatasetSpec, _Open] = {}
_opening: dict[DatasetSpec, threading.Lock] = {}


def dataset(spec: DatasetSpec, progress: Progress = silent) -> datasets.ImageDataset:
    """A data set as its files are now; the last few are kept open, and opened again when a file has changed.

    Raises:
        InputError: see `datasets.load`.
    """
    with _opening.setdefault(spec, threading.Lock()):  # two sessions do not open the same at once
        opened = _opened.pop(spec, None)
        if opened is None or opened.changed():
            opened = _Open(datasets.load(spec, progress))
        _opened[spec] = opened  # the last used is the last
    for old in list(_opened)[:-OPEN]:
        _opened.pop(old, None)
    return opened.data


def dataset_of(
    info: ModelInfo, root: str = "", skip_broken: bool = False, progress: Progress = silent
) -> datasets.ImageDataset:
    """The data set that a model was trained on, at `root`, or where it was then, or else in the default data root.

    Args:
        info: the model.
        root: the data root; a folder there that is named as the model's is taken, wherever that was.
        skip_broken: leave out pictures that cannot be decoded, even if the model does not.
        progress: called while files are read for the first time.

    Raises:
        InputError: when it is not there, or its classes are no longer the model's.
    """
    name = info.dataset
    if not root and datasets.available(info.dataset, info.root):
        root = info.root
    elif root and name not in datasets.REGISTRY:
        copy = datasets.data_root(root) / Path(name).name
        name = str(copy) if copy.is_dir() else name
    skip = skip_broken or info.skip_broken
    found = dataset(DatasetSpec(name, root, info.image_size, info.class_column, skip), progress)
    if found.class_names != info.class_names:
        raise InputError(
            f"Data set '{info.dataset}' has {len(found.class_names)} classes ({', '.join(found.class_names[:4])} …), "
            f"but model '{info.name}' was trained on {len(info.class_names)} ({', '.join(info.class_names[:4])} …)."
        )
    return found


def data_notes(info: ModelInfo, data: datasets.ImageDataset) -> list[str]:
    """What a person should know about a model's numbers on a data set, in sentences, the weightiest first."""
    return [*data_warnings(info, data), *data.notes]


def data_warnings(info: ModelInfo, data: datasets.ImageDataset) -> list[str]:
    """Why a model's numbers on a data set may mislead: its caveat, and whether the data set has changed, as far as is
    known."""
    before = str(info.made_by.get("data", ""))
    warnings = [info.caveat] if info.caveat else []
    if before != data.fingerprint and datasets.comparable(before, data.fingerprint):
        made = "imported" if "imported" in info.made_by else "trained"
        warnings.append(
            f"The data set has changed since '{info.name}' was {made}. Numbers and pictures are of the files as they "
            "are now."
        )
    return warnings


def statistics(
    store: Store, data: datasets.ImageDataset, progress: Progress = silent
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the training split's pixels, from the store or measured now."""

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        mean, std = data.statistics(progress)
        return {"mean": np.array(mean), "std": np.array(std)}, {"dataset": data.name, "image_size": data.image_size}

    arrays, _ = store.made("statistics", stable_key([data.fingerprint, data.image_size]), make, progress)
    return tuple(arrays["mean"].tolist()), tuple(arrays["std"].tolist())


# ---------------------------------------------------------------------------------------------------------------------
# training


@dataclass(frozen=True)
class TrainRequest:
    """What to train, and under which name."""

    name: str
    dataset: DatasetSpec
    backbone: str
    recipe: Recipe
    device: str
    command: str


def train(
    store: Store, request: TrainRequest, resume: bool = False, overwrite: bool = False, progress: Progress = silent
) -> ModelInfo:
    """Train a model, write a checkpoint after every epoch and the model at the end.

    Args:
        store: where checkpoints and model go.
        request: what to train.
        resume: go on from the newest checkpoint of the run with this name.
        overwrite: a model of that name may be replaced (once the new one is trained).
        progress: called after every step.

    Raises:
        InputError: when the name is taken, or there is no run to resume, or it was started with other settings.
        TrainingError: when training diverges.
        StoreError: when the store cannot be written.
    """
    import torch

    from kmex_core.models import training

    name = checked_name(request.name)
    data = dataset(request.dataset, progress)
    recipe = request.recipe
    asked = {
        "dataset": data.fingerprint,
        "image_size": data.image_size,
        "backbone": request.backbone,
        "recipe": dataclasses.asdict(recipe),
    }
    with models.claimed(store, name):
        _refuse_taken(store, name, resume, overwrite)
        mean, std = statistics(store, data, progress)
        torch.manual_seed(recipe.seed)
        network = training.build(recipe, request.backbone, len(data.class_names), data.image_size)
        run = training.Run(network)
        if resume:
            run = _resumed(store, name, network, asked)

        def checkpoint(now: training.Run) -> None:
            here, other = models.RUNS[(now.epoch - 1) % 2], models.RUNS[now.epoch % 2]
            if now.epoch == 1:  # what an earlier run has left must not be taken for a later epoch of this one
                remove_file(store.path(other, name))
            described = {"asked": asked, "epoch": now.epoch, "history": now.history}
            store.put(here, name, training.run_arrays(now), described)

        started = time.perf_counter()
        training.fit(run, data, recipe, mean, std, request.device, checkpoint, progress)
        accuracy = test_accuracy(network, data, mean, std, request.device, progress)
        info = ModelInfo(
            name=name,
            kind=recipe.kind,
            dataset=data.name,
            root=root_to_keep(request.dataset),
            backbone=request.backbone,
            class_names=data.class_names,
            image_size=data.image_size,
            channels=data.channels,
            mean=mean,
            std=std,
            accuracy=accuracy,
            made_by={
                "command": request.command,
                "recipe": dataclasses.asdict(recipe),
                "history": run.history,
                "seconds": round(time.perf_counter() - started, 2),
                "device": request.device,
                "data": data.fingerprint,
                "versions": versions(),
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            },
            k=recipe.k,
            options=dict(recipe.options),
            class_column=data.class_column,
            skip_broken=request.dataset.skip_broken,
        )
        models.save(store, info, network)
        models.remove_run(store, name)
    return info


def unfinished(store: Store, name: str) -> list[dict[str, Any]] | None:
    """The history (see `training.Run`) of a training run that has not ended; None when there is none of that name."""
    histories = []
    for room in models.RUNS:
        with contextlib.suppress(StoreError, FileNotFoundError, KeyError, TypeError):
            histories.append(list(read_description(store.path(room, name))["history"]))
    return max(histories, key=len, default=None)


def root_to_keep(spec: DatasetSpec) -> str:
    """What a model remembers of where its data set lies: "" for the default data root, and for paths."""
    return str(datasets.data_root(spec.root)) if spec.root and datasets.registered(spec.name) else ""


def _refuse_taken(store: Store, name: str, resume: bool, overwrite: bool) -> None:
    started = models.has_run(store, name)
    if started and not resume and not overwrite:
        raise InputError(
            f"A training run named '{name}' has not finished. Go on with --resume, start anew with --overwrite, or "
            "choose another --name."
        )
    hint = "Choose another --name, or --overwrite it."
    models.check_free(store, name, name if started or overwrite else "", hint)


def _newest_checkpoint(store: Store, name: str) -> tuple[Arrays, dict[str, Any]]:
    """The newest checkpoint of a run that is not damaged; says so when it is not the newest of all."""
    whole, damaged = [], 0
    for room in models.RUNS:
        try:
            whole.append(read_file(store.path(room, name)))
        except FileNotFoundError:
            continue
        except StoreError:
            damaged += 1
    if not whole and damaged:
        raise StoreError(
            f"The checkpoints of the run '{name}' are damaged, and there is nothing to go on from. Start anew with "
            "--overwrite instead of --resume."
        )
    if not whole:
        raise InputError(f"There is no unfinished training run named '{name}' to resume. Start it without --resume.")
    newest = max(whole, key=lambda checkpoint: int(checkpoint[1]["epoch"]))
    if damaged:
        log.warning("A checkpoint of the run '%s' is damaged: it goes on from the other one, after epoch %d.",
                    name, newest[1]["epoch"])  # fmt: skip
    return newest


def _resumed(store: Store, name: str, network: Any, asked: dict[str, Any]) -> Any:
    from kmex_core.models import training

    arrays, description = _newest_checkpoint(store, name)
    if description["asked"] != asked:
        before = {**description["asked"], **description["asked"]["recipe"]}
        now = {**asked, **asked["recipe"]}
        changed = [key for key in now if key != "recipe" and before.get(key) != now[key]]
        raise InputError(
            f"The run '{name}' was started with other settings ("
            + "; ".join(f"{key} was {before.get(key)}, now {now[key]}" for key in changed)
            + "). Resume it with the same."
        )
    return training.restore_run(network, arrays, description["epoch"], description["history"])


def test_accuracy(
    network: Any,
    data: datasets.ImageDataset,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: str,
    progress: Progress,
) -> float | None:
    """The share of the test split (0…1) that a network in evaluation mode classifies correctly; None without images.

    Raises:
        InputError: when the network gives values that are not finite, from which no class follows.
    """
    import torch

    from kmex_core.data.pictures import normalise
    from kmex_core.networks.memory import in_portions

    right = seen = 0
    total = len(data.split("test"))
    with torch.inference_mode():
        for pixels, labels in data.batches("test", BATCH):
            scores = in_portions(network, normalise(pixels.to(device), mean, std))
            if not bool(scores.isfinite().all()):
                raise InputError(
                    "The network gives values that are not finite (NaN or infinite) for test images: no class follows "
                    "from them. Its weights may be too large or unfinished, or its input needs another normalisation "
                    "(--mean, --std)."
                )
            right += int((scores.argmax(1).cpu() == labels).sum())
            seen += len(labels)
            progress("Measuring test accuracy", seen, total)
    return right / seen if seen else None


# ---------------------------------------------------------------------------------------------------------------------
# conversion


BATCH = 128
SECTION = 2  # batches after which an embedding can be interrupted and go on
STAGES = {"train": "Training images: computing embeddings", "test": "Test images: computing embeddings"}
PATCH_BATCH = 64


def embedding_spec(
    store: Store, info: ModelInfo, data: datasets.ImageDataset, split: str, mixed_precision: bool = False
) -> EmbeddingSpec:
    """What the embedding of a split by a model depends on."""
    return EmbeddingSpec(
        info.backbone,
        models.weights_key(store, info.name),
        data.fingerprint,
        split,
        info.image_size,
        info.mean,
        info.std,
        mixed_precision,
    )


def is_embedded(store: Store, info: ModelInfo, data: datasets.ImageDataset) -> bool:
    """Whether both splits' embeddings lie in the store (undamaged or not: that shows when they are read)."""
    return all(
        store.path("embeddings", embedding_spec(store, info, data, split).key).is_file() for split in ("train", "test")
    )


def embeddings(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    split: str,
    device: str = "",
    progress: Progress = silent,
    mixed_precision: bool = False,
) -> Embeddings:
    """The embedding of a split by a model, from the store or computed now.

    A computation that was interrupted goes on where it was, and gives what it would have given (see `shards`).

    Raises:
        InputError: see `embedding.extract`.
    """
    finished: list[Shards] = []

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        from kmex_core.data.pictures import normalise
        from kmex_core.networks.embedding import extract

        total = len(data.split(split))
        stage = STAGES[split]
        with Shards(store, spec, total) as shards:
            black_box = models.load(store, info.name)
            batches = (
                (normalise(pixels, info.mean, info.std), labels)
                for pixels, labels in data.batches(split, BATCH, np.arange(shards.rows, total))
            )
            progress(stage, shards.rows, total)
            while shards.rows < total or not total:  # `extract` says that there is nothing
                before = shards.rows
                part = extract(
                    black_box.encoder,
                    black_box.head,
                    itertools.islice(batches, SECTION),
                    0,
                    checked_device(device),
                    mixed_precision,
                    lambda _, done, __, before=before: progress(stage, before + done, total),
                )
                shards.add(part)
        finished.append(shards)
        return shards.whole().to_arrays(), {"spec": dataclasses.asdict(spec), "versions": versions()}

    spec = embedding_spec(store, info, data, split, mixed_precision)
    arrays, _ = store.made("embeddings", spec.key, make, progress)
    for shards in finished:
        shards.remove()
    return Embeddings.from_arrays(arrays)


def conversion_spec(
    store: Store, info: ModelInfo, data: datasets.ImageDataset, k: int, seed: int, mixed_precision: bool = False
) -> PrototypeSpec:
    """What a conversion depends on; with `k` = `OWN`, what a prototypical model's own prototypes do."""
    if k == OWN:
        return PrototypeSpec(embedding_spec(store, info, data, "train", mixed_precision).key, OWN, method="own-1")
    return PrototypeSpec(embedding_spec(store, info, data, "train", mixed_precision).key, k, seed)


def stored_conversion(store: Store, key: str) -> Conversion | None:
    """The conversion with this spec's key, or None when it was not computed yet. Needs no torch."""
    found = store.get("prototypes", key)
    return _conversion(*found) if found is not None else None


def convert(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    k: int,
    seed: int = 0,
    device: str = "",
    progress: Progress = silent,
    embedded: Callable[[str], Embeddings] | None = None,
    mixed_precision: bool = False,
) -> Conversion:
    """Convert a model to a KMEx with `k` prototypes per class, from the store or now.

    With `k` = `OWN` nothing is converted: the same is found for the prototypes that a prototypical model has itself.

    Args:
        store, info, data: the model and the data set it was trained on.
        k: prototypes per class, or `OWN`.
        seed: of k-means.
        device: a torch device (a GPU if there is one when empty).
        progress: called while it works; it may raise to stop.
        embedded: gives a split's embedding when the caller holds it already.
        mixed_precision: compute the embedding in 16-bit floats where torch deems it safe (a result of its own).

    Raises:
        InputError: see `prototypes.fit_prototypes` and `embedding.extract`.
        StoreError: when the store cannot be written.
    """

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        def given(split: str) -> Embeddings:
            if embedded is not None:
                return embedded(split)
            return embeddings(store, info, data, split, device, progress, mixed_precision)

        splits = {split: given(split) for split in ("train", "test")}
        if k == OWN:
            made = _own(splits, models.load(store, info.name, checked_device(device)))
        else:
            made = _converted(splits, info, spec, checked_device(device), progress)
        kept = {name: getattr(made, name) for name in _KEPT}
        arrays = made.prototypes.to_arrays() | kept
        return arrays, {
            "spec": dataclasses.asdict(spec),
            "summary": dataclasses.asdict(made.summary),
            "seconds": made.seconds,
            "model": info.name,
            "versions": versions(),
        }

    if k == OWN and info.kind == "blackbox":
        raise InputError(
            f"'{info.name}' is a black box: it has no prototypes of its own. Convert it with k = 1 or more."
        )
    spec = conversion_spec(store, info, data, k, seed, mixed_precision)
    return _conversion(*store.made("prototypes", spec.key, make, progress))


_KEPT = ("train_predicted", "test_predicted", "test_activated", "test_black_box")


def _conversion(arrays: dict[str, np.ndarray], described: dict[str, Any]) -> Conversion:
    return Conversion(
        Prototypes.from_arrays(arrays),
        Summary(**described["summary"]),
        seconds=described["seconds"],
        **{name: arrays[name] for name in _KEPT},
    )


def _converted(
    splits: dict[str, Embeddings], info: ModelInfo, spec: PrototypeSpec, device: str, progress: Progress
) -> Conversion:
    from kmex_core.prototypes.fit import activated, fit_prototypes

    started = time.perf_counter()
    test = splits["test"]
    found = fit_prototypes(splits["train"], info.class_names, spec.k, spec.seed, device, progress)
    nearest = activated(test.z, found.centers, device)
    predicted = found.classes[nearest]
    summary = Summary(
        images=len(test),
        accuracy_black_box=metrics.accuracy(test.black_box, test.labels),
        accuracy_kmex=metrics.accuracy(predicted, test.labels),
        agreement=metrics.agreement(test.black_box, predicted),
        ghosting=metrics.ghosting(found.count),
        diversity=metrics.diversity(found.centers, found.classes) if _several(found.classes) else None,
        diversity_reference=(
            metrics.diversity(found.centers, found.classes, "all", "reference") if len(found) > 1 else None
        ),
        effective=metrics.effective_prototypes(found.centers, found.classes),
    )
    return Conversion(
        found, summary, found.classes[found.activated], predicted, nearest, test.black_box,
        time.perf_counter() - started,
    )  # fmt: skip


def _several(classes: np.ndarray) -> bool:
    """Whether a class has more than one prototype, so that there is something to compare within it."""
    return bool(np.bincount(classes).max() > 1)


def _own(splits: dict[str, Embeddings], model: models.BlackBox) -> Conversion:
    """A prototypical model's own prototypes, by its own similarity."""
    import torch

    from kmex_core.models.baselines import PrototypeHead
    from kmex_core.models.builtin import own_distance
    from kmex_core.prototypes.fit import ROWS, describe_prototypes

    started = time.perf_counter()
    train, test = splits["train"], splits["test"]
    head: Any = model.head
    device = next(head.parameters()).device
    with torch.no_grad():
        centers, classes = head.prototypes.cpu().numpy(), head.prototype_class.cpu().numpy()
        among = head.similarity(head.prototypes).double().cpu().numpy()
        nearest = [
            own_distance(head, torch.from_numpy(test.z[at : at + ROWS]).to(device)).argmin(1).cpu().numpy()
            for at in range(0, len(test), ROWS)
        ]
    found = describe_prototypes(
        train, model.info.class_names, centers, classes, lambda z: own_distance(head, z), str(device)
    )
    accuracy = metrics.accuracy(test.black_box, test.labels)
    reference = None
    if len(classes) > 1:  # the released code rounds distances; a dot product needs none
        reference = (
            metrics.diversity(centers, classes, "all", "reference", squared=head.squared)
            if isinstance(head, PrototypeHead) else metrics.similarity_diversity(among, classes, "all")
        )  # fmt: skip
    summary = Summary(
        images=len(test),
        accuracy_black_box=accuracy,
        accuracy_kmex=accuracy,
        agreement=1.0,
        ghosting=metrics.ghosting(found.count),
        diversity=metrics.similarity_diversity(among, classes) if _several(classes) else None,
        diversity_reference=reference,
        effective=metrics.effective_prototypes(centers, classes),
    )
    return Conversion(
        found, summary, train.black_box, test.black_box, np.concatenate(nearest), test.black_box,
        time.perf_counter() - started,
    )  # fmt: skip


def sweep(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    ks: Sequence[int],
    seed: int = 0,
    device: str = "",
    progress: Progress = silent,
) -> dict[int, Summary]:
    """Convert a model for several numbers of prototypes per class, in the order given; each goes to the store at once.

    Args:
        store, info, data, seed, device, progress: see `convert`.
        ks: prototypes per class.

    Returns:
        The summary of each k, ascending.

    Raises:
        InputError: see `convert`.
    """
    made = conversions(store, info, data, ks, [seed], device, progress)
    return dict(sorted((k, converted.summary) for k, _, converted in made))


def conversions(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    ks: Sequence[int],
    seeds: Sequence[int],
    device: str = "",
    progress: Progress = silent,
    embedded: Callable[[str], Embeddings] | None = None,
) -> Iterator[tuple[int, int, Conversion]]:
    """Convert a model for several numbers of prototypes per class and seeds, one at a time; each goes to the store.

    Args:
        store, info, data, device, progress, embedded: see `convert`.
        ks: prototypes per class, in this order.
        seeds: of k-means.

    Yields:
        k, seed, and the conversion.

    Raises:
        InputError: see `convert`.
    """
    held: dict[str, Embeddings] = {}

    def given(split: str) -> Embeddings:
        if split not in held:
            held[split] = embedded(split) if embedded else embeddings(store, info, data, split, device, progress)
        return held[split]

    for done, (seed, k) in enumerate(itertools.product(seeds, ks)):
        progress("Converting", done, len(ks) * len(seeds))
        yield k, seed, convert(store, info, data, k, seed, device, embedded=given)
    progress("Converting", len(ks) * len(seeds), len(ks) * len(seeds))


def grouped_by(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    column: str,
    device: str = "",
    progress: Progress = silent,
    root: str = "",
    skip_broken: bool = False,
) -> tuple[ModelInfo, datasets.ImageDataset, Callable[[str], Embeddings]]:
    """A model's embedding with another column as the class: what `convert` needs to find prototypes of its values.

    The network is the same and does not predict these classes: its predictions are −1, which is never right.

    Args:
        store, info, data, device, progress: see `embeddings`.
        column: an attribute, or another column of the data set's table.
        root, skip_broken: those that `data` was opened with, as in `dataset_of`.

    Returns:
        The model and its data with those classes, and the embedding of a split.

    Raises:
        InputError: for an unknown column; see `datasets.load`.
    """
    skip = skip_broken or info.skip_broken
    other = dataset(DatasetSpec(data.name, root or info.root, info.image_size, column, skip))
    regrouped = dataclasses.replace(info, class_names=other.class_names, class_column=column)

    def embedded(split: str) -> Embeddings:
        of_other = other.split(split)
        # other rows where a column has no value for some images, or another fifth of each class is held out
        same = np.array_equal(of_other.identity, data.split(split).identity)
        found = embeddings(store, info, data if same else other, split, device, progress)
        return Embeddings(found.z, of_other.labels, np.full(len(of_other), -1, dtype=np.int64))

    return regrouped, other, embedded


def attribute_curves(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    ks: Sequence[int],
    seeds: Sequence[int] = (0,),
    device: str = "",
    progress: Progress = silent,
    embedded: Callable[[str], Embeddings] | None = None,
) -> Curves:
    """Which attributes are covered by each of several numbers of prototypes per class; each goes to the store at once.

    Args:
        store, info, data, device, progress: see `convert`.
        ks, seeds, embedded: see `conversions`.

    Raises:
        InputError: when the data set has no attributes; see `convert`.
    """
    from kmex_core.analysis.coverage import CurveMaker, checked

    maker = CurveMaker(checked(data.split("train"), data.name))
    for k, seed, made in conversions(store, info, data, ks, seeds, device, progress, embedded):
        maker.add(k, seed, made.prototypes)
    return maker.made()


def own_attribute_curves(
    store: Store,
    infos: Sequence[ModelInfo],
    data: datasets.ImageDataset,
    device: str = "",
    progress: Progress = silent,
) -> Curves:
    """Which attributes prototypical models cover by themselves; each number and seed is a training of its own.

    Args:
        store, data, device, progress: see `convert`.
        infos: see `results.trained_alike`.

    Raises:
        InputError: when the data set has no attributes, or for a black box.
    """
    from kmex_core.analysis.coverage import CurveMaker, checked

    maker = CurveMaker(checked(data.split("train"), data.name))
    for info in infos:
        own = convert(store, info, data, OWN, 0, device, progress).prototypes
        maker.add(info.k, training_seed(info), own)
    return maker.made()


def stored_summary(store: Store, spec: PrototypeSpec) -> Summary | None:
    """The summary of a conversion that was computed before, or None, without reading its arrays."""
    try:
        return Summary(**store.description("prototypes", spec.key)["summary"])
    except (FileNotFoundError, StoreError, KeyError, TypeError):
        return None  # a damaged file is made again when it is next needed


def patch_spec(store: Store, info: ModelInfo, data: datasets.ImageDataset, k: int, seed: int = 0) -> PatchSpec:
    """What a patch conversion depends on."""
    return PatchSpec(embedding_spec(store, info, data, "train").key, k, seed)


def stored_patches(store: Store, key: str) -> PatchConversion | None:
    """The patch conversion with this spec's key, or None when it was not computed yet. Needs no torch."""
    found = store.get("patches", key)
    return PatchConversion(PatchPrototypes.from_arrays(found[0]), **found[1]["measured"]) if found is not None else None


def convert_patches(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    k: int,
    seed: int = 0,
    device: str = "",
    progress: Progress = silent,
) -> PatchConversion:
    """Find `k` patch prototypes per class and measure the vote on the test split, from the store or now (paper A.4).

    Args:
        store, info, data, k, seed, device, progress: see `convert`.

    Raises:
        InputError: see `patches.PatchKMEx` and `patches.fit_patches`.
        StoreError: when the store cannot be written.
    """

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        import torch

        from kmex_core.data.pictures import normalise
        from kmex_core.networks.memory import in_portions
        from kmex_core.prototypes.patches import PatchKMEx, fit_patches

        started = time.perf_counter()
        black_box = models.load(store, info.name, checked_device(device))
        place = next(black_box.model.parameters()).device
        model = PatchKMEx(black_box.encoder, info.image_size)

        def batches(split: str, rows: np.ndarray | None) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
            order, at = np.arange(len(data.split(split))) if rows is None else rows, 0
            for pixels, labels in data.batches(split, PATCH_BATCH, order):
                yield order[at : at + len(labels)], normalise(pixels.to(place), info.mean, info.std), labels
                at += len(labels)

        found = fit_patches(model, batches, data.split("train").labels, len(info.class_names), k, seed, progress)
        total, right, right_black_box, same, done = len(data.split("test")), 0, 0, 0, 0
        with torch.no_grad():
            for _, images, labels in batches("test", None):
                patches = model.encode(images)
                said = model.vote(patches).predicted.cpu()
                black = in_portions(black_box.model, images).argmax(1).cpu()
                right, same = right + int((said == labels).sum()), same + int((said == black).sum())
                right_black_box += int((black == labels).sum())
                done += len(labels)
                progress("Measuring the vote", done, total)
        measured = {
            "accuracy": right / max(1, total),
            "accuracy_black_box": right_black_box / max(1, total),
            "agreement": same / max(1, total),
            "seconds": time.perf_counter() - started,
        }
        return found.to_arrays(), {
            "spec": dataclasses.asdict(spec),
            "measured": measured,
            "model": info.name,
            "versions": versions(),
        }

    spec = patch_spec(store, info, data, k, seed)
    arrays, described = store.made("patches", spec.key, make, progress)
    return PatchConversion(PatchPrototypes.from_arrays(arrays), **described["measured"])


# ---------------------------------------------------------------------------------------------------------------------
# projection


def projection_spec(
    store: Store, info: ModelInfo, data: datasets.ImageDataset, sample: int = SAMPLE, seed: int = 0
) -> ProjectionSpec:
    """What the map of a model's embedding depends on."""
    return ProjectionSpec(embedding_spec(store, info, data, "train").key, sample, seed)


def stored_projection(store: Store, key: str) -> Projection | None:
    """The map with this spec's key, or None when it was not drawn yet. Needs neither torch nor UMAP."""
    found = store.get("projections", key)
    return Projection.from_arrays(found[0], **found[1]["measured"]) if found is not None else None


def is_on_map(store: Store, projection: str, conversion: str) -> bool:
    """Whether a stored conversion is of the embedding that a stored map shows (both by their specs' keys)."""
    rooms = (("projections", projection), ("prototypes", conversion))
    try:
        of_map, of_prototypes = (store.description(room, key)["spec"]["embedding"] for room, key in rooms)
    except (FileNotFoundError, StoreError):
        return False
    return bool(of_map == of_prototypes)


def project(
    store: Store,
    info: ModelInfo,
    data: datasets.ImageDataset,
    sample: int = SAMPLE,
    seed: int = 0,
    device: str = "",
    progress: Progress = silent,
) -> Projection:
    """The map of a model's embedding, from the store or drawn now (tens of seconds).

    Args:
        store, info, data: the model and the data set it was trained on.
        sample: how many training images UMAP is fitted on; the others are placed among them.
        seed: equal seeds give equal maps.
        device: a torch device, for the embedding.
        progress: called while it works; it may raise to stop.

    Raises:
        InputError: see `projection.fit`.
    """

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        from kmex_core.analysis import projection

        train, test = (embeddings(store, info, data, split, device, progress) for split in ("train", "test"))
        made = projection.fit(train, test, spec, progress)
        measured = {name: getattr(made, name) for name in ("trustworthiness", "placed_trustworthiness", "seconds")}
        return made.to_arrays(), {
            "spec": dataclasses.asdict(spec),
            "measured": measured,
            "model": info.name,
            "versions": versions(),
        }

    spec = projection_spec(store, info, data, sample, seed)
    arrays, described = store.made("projections", spec.key, make, progress)
    return Projection.from_arrays(arrays, **described["measured"])


# ---------------------------------------------------------------------------------------------------------------------
# use


def kmex(black_box: models.BlackBox, converted: Conversion, spec: PrototypeSpec) -> KMEx:
    """The self-explaining module of a conversion, or of a prototypical model on its own."""
    from kmex_core.data.pictures import pixel_bounds
    from kmex_core.models.builtin import OwnPrototypes
    from kmex_core.models.kmex import KMEx

    info = black_box.info
    return (OwnPrototypes if spec.k == OWN else KMEx)(
        black_box.encoder,
        black_box.head,
        converted.prototypes,
        info.class_names,
        spec.epsilon,
        spec.squared,
        pixel_bounds(info.mean, info.std),
        {
            "k": spec.k,
            "seed": spec.seed,
            "model": info.name,
            "head_path": black_box.head_path,
            "versions": versions(),
        },
    ).to(next(black_box.head.parameters()).device)


def similarities(converted: Conversion, spec: PrototypeSpec, z: np.ndarray, head: Any = None) -> np.ndarray:
    """(N, K) similarities of embeddings (N, D) to the prototypes of a conversion.

    Args:
        converted, spec: the conversion.
        z: (N, D).
        head: of a prototypical model on its own; KMEx needs none.
    """
    import torch

    from kmex_core.prototypes.fit import pairwise, similarity

    if spec.k == OWN:
        with torch.no_grad():
            found: np.ndarray = head.similarity(torch.from_numpy(z).to(next(head.parameters()).device)).cpu().numpy()
        return found
    distances = pairwise(torch.from_numpy(z), torch.from_numpy(converted.prototypes.centers))
    return similarity(distances, spec.epsilon, spec.squared).numpy()
