"""The forms that train and import a model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from app import read
from app.access import dataset_to_open, network_to_open
from app.components.models.jobs import start_import, start_training, waiting_upload
from app.components.shared.making import is_being_made
from app.components.shared.messages import show_error, upload_limit
from app.links import link_to_new
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
FROM_OUTSIDE = (
    ", or a network from outside: `torchvision:NAME`, `timm:NAME`, `hf:FOLDER`, `module:function`. Such a network is "
    "trained as a black box, from its source's weights where they can be had"
)
NAMED = "Use letters, digits, dots, dashes and underscores."


def _dataset(key: str) -> str:
    known = [*datasets.DATASETS, *sorted({info.dataset for info in read.models()} - set(datasets.DATASETS))]

    def words(name: str) -> str:
        if name not in datasets.DATASETS:
            return name
        return datasets.title(name) + ("" if datasets.available(name) else " (not downloaded yet)")

    return st.selectbox(
        "Data set",
        known,
        format_func=words,
        key=key,
        accept_new_options=True,
        help="Choose one, or type the path of a folder on the server with parquet files or with images in "
        "train/<class>/.",
    )


def _backbone(key: str, index: int, more: str = "") -> str:
    return st.selectbox(
        "Backbone",
        BACKBONES,
        index,
        key=key,
        accept_new_options=True,
        help="resnet20 is small and suits images up to 64 pixels. You can type any torchvision classification model"
        f"{more}.",
    )


def _class_column(key: str) -> str:
    return st.text_input(
        "Class column",
        max_chars=200,
        key=key,
        placeholder="The data set's class",
        help="An attribute or another column of the data set's table to predict instead: Smiling for CelebA, for "
        "example.",
    ).strip()


def _skip_broken(key: str) -> bool:
    return st.toggle(
        "Skip broken images",
        key=key,
        help="Off: stops at the first image that cannot be decoded and names it. On: counts and skips such images; "
        "checking "
        "every image beforehand takes longer.",
    )


def _kind(key: str) -> str:
    return st.selectbox(
        "Kind",
        list(MODEL_KINDS),
        format_func=lambda kind: "Black box" if kind == "blackbox" else MODEL_KINDS[kind].title,
        key=key,
        help="A black box is an ordinary classifier. The other kinds learn built-in prototypes.",
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
            backbone = _backbone("train-backbone", 0, FROM_OUTSIDE)
            imagenet = st.toggle(
                "Start from ImageNet weights",
                key="train-imagenet",
                help="torchvision downloads them. For a network from outside: never start from random weights.",
            )
        epochs = second[0].number_input(
            "Epochs",
            1,
            1000,
            None,
            key="train-epochs",
            placeholder="As in the paper",
            help="Passes over the training images. The paper trains for 10 to 60, depending on kind and data set "
            "(Table 10).",
        )
        rate = second[1].number_input(
            "Learning rate",
            0.0,
            10.0,
            None,
            format="%g",
            key="train-rate",
            placeholder="Default",
            help="Initial value; it decays to 0. Default: 0.001 for prototypical models, 0.05 for a black box from "
            "scratch; 0.00005 for a network from outside, 0.0005 if its weights are random.",
        )
        k = second[2].number_input(
            "Built-in prototypes",
            1,
            100,
            5,
            key="train-k",
            help="Number per class. A black box has no built-in prototypes.",
        )
        seed = second[3].number_input("Seed", 0, 2**31 - 1, 0, key="train-seed", help="Equal seeds give equal results.")
        submitted = st.form_submit_button("Train", icon=":material/play_arrow:", type="primary")
    if not submitted:
        return
    remember_entries("train-")
    opened = _opened(data)
    if opened is not None and _may_open(backbone) and _free(name):
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
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            "For weights of this product's backbones and prototypical models, and for its exports. For a network of "
            "timm, torchvision, Hugging Face, of an ONNX or torch.export file, or of a function of your own:",
            width="stretch",
        )
        link_to_new()
    with st.form("import", border=False):
        most = upload_limit(MOST_MIB)
        file = st.file_uploader(
            f"Weights (.safetensors, .pt, .pth, .ckpt, .bin or .pth.tar, up to {most} MB)",
            ["safetensors", "pt", "pth", "ckpt", "bin", "tar"],
            key="import-file",
            max_upload_size=most,
            help="A state dict, as written by `torch.save(model.state_dict(), ...)`. Pickled models are refused "
            "because loading "
            "them can run any code. Import larger files with `python -m kmex_core import`.",
        )
        earlier = waiting_upload()
        if file is None and earlier:
            st.caption(f"If you choose no file, '{markdown(earlier)}' is imported, which you uploaded before.")
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
            placeholder="From the training images",
            help="Mean per channel that the input was normalised with, for pixels 0 to 1. For ImageNet: "
            "0.485,0.456,0.406.",
        )
        std = second.text_input(
            "Standard deviation",
            key="import-std",
            placeholder="From the training images",
            help="Standard deviation per channel, likewise. For ImageNet: 0.229,0.224,0.225.",
        )
        k = third.number_input(
            "Built-in prototypes", 1, 100, 5, key="import-k", help="Number per class, for prototypical models only."
        )
        ignore = st.text_input(
            "Ignore tensors",
            max_chars=500,
            key="import-ignore",
            placeholder="None",
            help="Comma-separated names to skip: `aux.*`, `loss*`. Losses, metrics and auxiliary heads are skipped "
            "automatically.",
        )
        submitted = st.form_submit_button("Import", icon=":material/upload:", type="primary")
    if not submitted:
        return
    remember_entries("import-")
    if file is None and not earlier:
        request = import_job(name or "NAME", Path("FILE"), kind, data or "NAME", backbone or "NAME", k)
        show_error(
            "No file was received. Choose a file above. If you did, the server refused it, for example because it is "
            f"larger than {most} MB; the message next to its name says why. Import such files on the command line: "
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
    """Restore what `remember_entries` has saved, where Streamlit has forgotten it."""
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


def _may_open(backbone: str) -> bool:
    """Whether pages may open a network's folder; a message says why not."""
    try:
        network_to_open(backbone)
    except KMExError as error:
        show_error(str(error))
        return False
    return True


def _free(name: str) -> bool:
    """Whether a model can be made under this name; a message says why not. The job looks again when it has the name."""
    try:
        check_free(read.store(), checked_name(name))
        if is_being_made(name):
            raise InputError(f"A model named '{name}' is being made. Choose another name, or stop that job first.")
    except KMExError as error:
        show_error(str(error))
        return False
    return True
