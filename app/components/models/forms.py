"""Making models: the forms to train one, and to import one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from app import read
from app.access import dataset_to_open
from app.components.models.jobs import is_being_made, start_import, start_training, waiting_upload
from app.components.shared.messages import show_error, upload_limit
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import checked_name
from kmex_core.commands.importing import import_job
from kmex_core.commands.training import training_job
from kmex_core.data import registry as datasets
from kmex_core.models.catalogue import check_free
from kmex_core.models.kinds import MODEL_KINDS

BACKBONES = (
    "resnet20",
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg11_bn",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_b_16",
)
MOST_MIB = 600  # a VGG-19 has 548; Streamlit holds an upload in memory while its page is open
NAMED = "Letters, digits, dots, dashes and underscores."


def _dataset(key: str) -> str:
    known = [*datasets.DATASETS, *sorted({info.dataset for info in read.models()} - set(datasets.DATASETS))]

    def words(name: str) -> str:
        if name not in datasets.DATASETS:
            return name
        return datasets.title(name) + ("" if datasets.available(name) else " (to be downloaded)")

    return st.selectbox(
        "Data set",
        known,
        format_func=words,
        key=key,
        accept_new_options=True,
        help="One of these, or type the path of a folder on this machine with parquet files or with train/<class>/ "
        "pictures.",
    )


def _backbone(key: str, index: int) -> str:
    return st.selectbox(
        "Backbone",
        BACKBONES,
        index,
        key=key,
        accept_new_options=True,
        help="resnet20 is small, for images up to 64 pixels. Any torchvision classification model can be typed.",
    )


def _class_column(key: str) -> str:
    return st.text_input(
        "Class column",
        max_chars=200,
        key=key,
        placeholder="The data set's own class",
        help="An attribute, or other column of the data set's table, that is to be predicted: Smiling for CelebA.",
    ).strip()


def _skip_broken(key: str) -> bool:
    return st.toggle(
        "Leave out broken pictures",
        key=key,
        help="Off: a picture that cannot be read ends the work, with its name. On: such pictures are counted and left "
        "out. Each is then decoded to its end beforehand, which takes longer.",
    )


def _kind(key: str) -> str:
    return st.selectbox(
        "Kind",
        list(MODEL_KINDS),
        format_func=lambda kind: "Black box" if kind == "blackbox" else MODEL_KINDS[kind].title,
        key=key,
        help="A black box is an ordinary classifier. The others learn prototypes of their own.",
    )


def show_training() -> None:
    """Show the form that trains a model."""
    restore_entries("train-")
    with st.form("train", border=False):
        first, second = st.columns(2), st.columns(4)
        with first[0]:
            kind = _kind("train-kind")
            data = _dataset("train-data")
            column = _class_column("train-class")
            skip_broken = _skip_broken("train-skip")
        with first[1]:
            name = st.text_input("Name", max_chars=50, key="train-name", help=NAMED)
            backbone = _backbone("train-backbone", 0)
            imagenet = st.toggle("Start from ImageNet weights", key="train-imagenet", help="Downloaded by torchvision.")
        epochs = second[0].number_input(
            "Epochs",
            1,
            1000,
            None,
            key="train-epochs",
            placeholder="As in the paper",
            help="Passes over the training images. The paper trains 10 to 60, by kind and data set (Table 10).",
        )
        rate = second[1].number_input(
            "Learning rate",
            0.0,
            10.0,
            None,
            format="%g",
            key="train-rate",
            placeholder="Default",
            help="At the start; it falls to 0. Default: 0.001 for prototypical models, 0.05 for a black box from "
            "scratch.",
        )
        k = second[2].number_input(
            "Built-in prototypes", 1, 100, 5, key="train-k", help="Per class. A black box has none of its own."
        )
        seed = second[3].number_input("Seed", 0, 2**31 - 1, 0, key="train-seed", help="Equal seeds, equal results.")
        asked = st.form_submit_button("Train", icon=":material/play_arrow:", type="primary")
    if not asked:
        return
    remember_entries("train-")
    opened = _opened(data)
    if opened is None:
        return
    if _free(name):
        start_training(
            training_job(
                name,
                opened,
                kind,
                backbone,
                seed,
                class_column=column,
                epochs=epochs,
                learning_rate=rate,
                k=None if kind == "blackbox" else k,
                imagenet=imagenet,
                skip_broken=skip_broken,
            )
        )
        st.rerun()


def show_import() -> None:
    """Show the form that imports a model."""
    restore_entries("import-")
    with st.form("import", border=False):
        most = upload_limit(MOST_MIB)
        file = st.file_uploader(
            f"Weights: .safetensors, .pt, .pth, .ckpt, .bin or .pth.tar, up to {most} MB",
            ["safetensors", "pt", "pth", "ckpt", "bin", "tar"],
            key="import-file",
            max_upload_size=most,
            help="A state dict, as `torch.save(model.state_dict(), ...)` writes it. A pickled whole model is refused, "
            "because reading one can run any code. Import larger files with `python -m kmex_core import`.",
        )
        earlier = waiting_upload()
        if file is None and earlier:
            st.caption(f"Without another file, '{markdown(earlier)}' is used, which you uploaded before.")
        left, right = st.columns(2)
        with left:
            kind = _kind("import-kind")
            data = _dataset("import-data")
            column = _class_column("import-class")
            skip_broken = _skip_broken("import-skip")
        with right:
            name = st.text_input("Name", max_chars=50, key="import-name", help=NAMED)
            backbone = _backbone("import-backbone", 2)
        first, second, third = st.columns(3)
        mean = first.text_input(
            "Mean",
            key="import-mean",
            placeholder="Of the training images",
            help="What its input was normalised with, per channel, for pixels 0 to 1: "
            "0.485,0.456,0.406 for ImageNet's.",
        )
        std = second.text_input(
            "Standard deviation",
            key="import-std",
            placeholder="Of the training images",
            help="As the mean: 0.229,0.224,0.225 for ImageNet's.",
        )
        k = third.number_input(
            "Built-in prototypes", 1, 100, 5, key="import-k", help="Per class, of a prototypical model."
        )
        ignore = st.text_input(
            "Ignore tensors",
            max_chars=500,
            key="import-ignore",
            placeholder="None",
            help="Names to leave out, with commas between them: `aux.*`, `loss*`. Losses, metrics "
            "and auxiliary heads are left out anyway.",
        )
        asked = st.form_submit_button("Import", icon=":material/upload:", type="primary")
    if not asked:
        return
    remember_entries("import-")
    if file is None and not earlier:
        request = import_job(name or "NAME", Path("FILE"), kind, data or "NAME", backbone or "NAME", k)
        show_error(
            "No file was received. Choose a file above. If you did, the server refused it, for example because it is "
            f"larger than {most} MB; see the line with its name. Import such files on the command line: "
            f"`{request.command}`."
        )
    elif (opened := _opened(data)) is not None and _free(name):
        of_file = partial(
            import_job,
            name,
            kind=kind,
            dataset=opened,
            backbone=backbone,
            k=k,
            class_column=column,
            mean=mean,
            std=std,
            ignore=[pattern for pattern in map(str.strip, ignore.split(",")) if pattern],
            skip_broken=skip_broken,
        )
        start_import(name, of_file, file)
        st.rerun()


def remember_entries(beginning: str) -> None:
    """Keep a form's entries for this session: Streamlit forgets them when another page is opened."""
    entries = {key: value for key, value in st.session_state.items() if str(key).startswith(beginning)}
    st.session_state[f"_{beginning}entries"] = {
        key: value for key, value in entries.items() if isinstance(value, str | int | float) or value is None
    }


def restore_entries(beginning: str) -> None:
    """Put back what `remember_entries` has kept, where Streamlit has forgotten it."""
    for key, value in st.session_state.get(f"_{beginning}entries", {}).items():
        if key not in st.session_state:
            st.session_state[key] = value


def _opened(data: str) -> str | None:
    """See `dataset_to_open`; None for a folder that pages may not open. A message says so, and the page goes on."""
    try:
        return dataset_to_open(data)
    except KMExError as error:
        show_error(str(error))
        return None


def _free(name: str) -> bool:
    """Whether a model can be made under this name; a message says why not. The job looks again when it has the name."""
    try:
        check_free(read.store(), checked_name(name))
        if is_being_made(name):
            raise InputError(
                f"A model named '{name}' is being made right now. Choose another name, or stop that first."
            )
    except KMExError as error:
        show_error(str(error))
        return False
    return True
