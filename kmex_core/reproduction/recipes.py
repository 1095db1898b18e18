"""The paper's data and recipe (A.1, A.2 and Table 10), what is done here, and how the two differ."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmex_core.analysis.published import papers_name
from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.opened import dataset
from kmex_core.data.sources.official import CONNECT_SECONDS, Official
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS

if TYPE_CHECKING:
    from kmex_core.models.training import Recipe

NETWORK = "resnet34"
RUNS = 5
MAP_IMAGES = 1000  # of which the paper measures relevance maps
# of the first numbers of epochs in Table 10; the kinds of models have both
FEW_EPOCHS = ("mnist", "fashion-mnist", "svhn", "celeba")
_MANY_PROTOTYPES = {"celeba": 20}  # per class; 5 of all others
_CELEBAS_MOMENTUM = 0.9
_JPEG = "JPEG"


@dataclass(frozen=True)
class PaperData:
    """A data set of the paper.

    Attributes:
        name: its registered name.
        train, test: how many images the paper trains and tests on (A.1).
        folder: under the data root, whose parquet files are read where the registered files are not there; "" for none.
    """

    name: str
    train: int
    test: int
    folder: str = ""

    @property
    def title(self) -> str:
        """Its name for people."""
        return registry.title(self.name)

    @property
    def paper(self) -> str:
        """What the paper calls it."""
        return papers_name(self.title)

    @property
    def k(self) -> int:
        """Prototypes per class (Table 10)."""
        return _MANY_PROTOTYPES.get(self.name, 5)


PAPER_DATA: Mapping[str, PaperData] = {
    data.name: data
    for data in (
        PaperData("mnist", 60_000, 10_000),
        PaperData("fashion-mnist", 60_000, 10_000),
        PaperData("svhn", 73_257, 26_032),
        PaperData("cifar10", 50_000, 10_000, "cifar10"),
        PaperData("stl10", 5_000, 8_000),
        PaperData("quickdraw10", 8_000, 2_000, "quickdraw"),
        PaperData("celeba", 162_770, 19_962),
    )
}


def paper_data(name: str) -> PaperData:
    """A data set of the paper by its name or title, or by what the paper calls it.

    Raises:
        InputError: for one that the paper does not have.
    """
    known = registry.registered(name)
    by_paper = {data.paper.lower(): data.name for data in PAPER_DATA.values()}
    found = PAPER_DATA.get(known or by_paper.get(name.lower(), ""))
    if found is None:
        raise unknown_name("data set of the paper", name, PAPER_DATA)
    return found


def paper_epochs(kind: str, name: str) -> int:
    """How many epochs the paper trains a kind of model on a data set (Table 10)."""
    return MODEL_KINDS[kind].epochs[name not in FEW_EPOCHS]


def spec_of(name: str, root: str = "") -> DatasetSpec | None:
    """Where a data set of the paper is, as far as that can be known without opening it; None where it is not there.

    Args:
        name: a key of `PAPER_DATA`.
        root: the data root.
    """
    if registry.available(name, root):
        return DatasetSpec(name, root)
    instead = PAPER_DATA[name].folder
    folder = registry.data_root(root) / instead
    if instead and folder.is_dir() and any(folder.glob("*.parquet")):
        return DatasetSpec(str(folder), root)
    return None


def opened(name: str, root: str = "", progress: Progress = silent) -> ImageDataset | str:
    """A data set of the paper from the data root, or what to download. Nothing is downloaded.

    Args:
        name, root: see `spec_of`.
        progress: called while files are read for the first time.

    Raises:
        InputError: for files that are there and cannot be used.
    """
    spec = spec_of(name, root)
    return _to_download(name, root) if spec is None else dataset(spec, progress)


def _to_download(name: str, root: str) -> str:
    """What to do about a data set that is not there. No folder of this machine is named: reports are passed on."""
    source, here = registry.DATASETS[name], str(registry.data_root(root))
    if isinstance(source, Official):
        return (
            f"{source.title} is not in the data root. `kmex datasets --check {name}` downloads it; or put "
            f"{first_few(source.files, 3)} there (--data-root or KMEX_DATA)."
        )
    try:
        source.load(DatasetSpec(name, here), silent)
    except InputError as error:  # it says what is missing, and where to get it
        return str(error).replace(here, "the data root")
    raise AssertionError(f"{name} is there")


def recipe(
    data: ImageDataset, name: str, kind: str, epochs: int, seed: int, imagenet: bool, device: str = "cpu"
) -> Recipe:
    """How a model is trained: the paper's hyper-parameters, or for a black box from random weights the product's.

    With fewer epochs than the paper's, ProtoPNet's warm epochs and those between pushes are fewer in proportion.

    Args:
        data: what it is trained on.
        name: of the data set, a key of `PAPER_DATA`.
        kind: a key of `MODEL_KINDS`.
        epochs: passes over the training split.
        seed: of the training.
        imagenet: whether it starts from ImageNet weights.
        device: a torch device, which decides the precision.
    """
    from kmex_core.models.precision import fastest
    from kmex_core.models.training import default_recipe

    changes: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": fastest(device)}
    if kind != "blackbox":
        changes["k"] = PAPER_DATA[name].k
    elif imagenet and name == "celeba":
        changes["momentum"] = _CELEBAS_MOMENTUM
    if kind == "protopnet":
        changes["options"] = _in_proportion(epochs, paper_epochs(kind, name))
    return default_recipe(data, imagenet, kind, **changes)


def _in_proportion(epochs: int, of: int) -> dict[str, float]:
    usual = MODEL_KINDS["protopnet"].defaults
    return {name: max(1, round(usual[name] * epochs / of)) for name in ("warm", "push")} if epochs < of else {}


def least_epochs(kind: str) -> int:
    """The fewest epochs in which a kind of model is trained as a whole: ProtoPNet's first trains no backbone."""
    return 2 if kind == "protopnet" else 1


def why_no_imagenet(backbone: str) -> str:
    """Why trainings of a backbone cannot start from ImageNet weights, in a sentence; "" where they can.

    The weights are downloaded unless they are cached.
    """
    from kmex_core.networks import architectures

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        architectures.build(backbone, 2, 32, imagenet=True)
    except InputError:
        return f"ImageNet weights of {backbone} could not be had, so trainings start from random weights."
    finally:
        socket.setdefaulttimeout(before)
    return ""


# ---- how it differs from the paper ----------------------------------------------------------------------------------


def is_jpeg(data: ImageDataset) -> bool:
    """Whether its pictures are stored as JPEG, which loses detail of small ones."""
    split = data.split("test")
    return len(split) > 0 and split.header(0).format == _JPEG


def notes_on_data(data: ImageDataset, name: str) -> tuple[str, ...]:
    """How a data set differs from the paper's, a sentence each."""
    of, notes = PAPER_DATA[name], list(data.notes)
    train, test = len(data.split("train")), len(data.split("test"))
    if (train, test) != (of.train, of.test):
        notes.append(
            f"{of.title} has {train:,} training and {test:,} test images here; the paper's has {of.train:,} and "
            f"{of.test:,}."
        )
    if name != "celeba" and is_jpeg(data):  # whose originals are JPEG
        notes.append(f"The pictures of {of.title} are JPEG re-encodes here, so their pixels are not quite the paper's.")
    return tuple(notes)


def notes_on_recipe(info: ModelInfo, name: str) -> tuple[str, ...]:
    """How a model's training differed from the paper's, a sentence each.

    Args:
        info: the model.
        name: of its data set, a key of `PAPER_DATA`.
    """
    return tuple(_recipes_notes(info, info.made_by.get("recipe", {}), name))


def _recipes_notes(info: ModelInfo, done: Mapping[str, Any], name: str) -> Iterator[str]:
    if not done:
        yield "How it was trained is not known: the model was imported."
        return
    rate = f"{done['learning_rate']:g}"
    if info.kind == "blackbox":
        momentum = _CELEBAS_MOMENTUM if name == "celeba" else 0.5
        if (rate, done["momentum"]) != ("0.001", momentum):
            yield (
                f"Trained from {_start(done)} by SGD at {rate} with momentum {done['momentum']:g} and weight decay "
                f"{done['weight_decay']:g}; the paper fine-tunes ImageNet weights at 0.001 with momentum {momentum:g}."
            )
    elif not done["imagenet"]:
        yield "Its network starts from random weights; the paper's from ImageNet weights."
    if info.kind in ("flint", "protovae"):
        yield f"Trained by Adam at {rate}; the paper names no learning rate for {MODEL_KINDS[info.kind].title}."
    if info.kind == "protopnet" and done["epochs"] < paper_epochs(info.kind, name):
        usual = MODEL_KINDS["protopnet"].defaults
        yield (
            f"Warm epochs: {info.options['warm']:g}, epochs between pushes: {info.options['push']:g}, in proportion to "
            f"the fewer epochs; the paper's: {usual['warm']:g} and {usual['push']:g}."
        )
    if "precision" in done:
        yield f"Computed in {done['precision']}; the paper names no precision."
    yield "The learning rate falls to 0 along a half cosine; the paper names no schedule."


def _start(done: Mapping[str, Any]) -> str:
    return "ImageNet weights" if done["imagenet"] else "random weights"
