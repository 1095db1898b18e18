"""Where the network and its weights come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import read
from app.access import file_to_open, network_to_open
from app.components.new.draft import OpenDraft
from app.components.shared.messages import show_error, upload_limit
from app.wording import message
from kmex_core.base.errors import KMExError
from kmex_core.base.plain_text import markdown
from kmex_core.stages import drafts
from kmex_core.stages.new_model import AUTO

if TYPE_CHECKING:
    from kmex_core.networks.architecture_source import ArchitectureSource

OWN, FILE, UPLOAD = "As its source gives it", "A file on this machine", "Upload a file"
MOST_MIB = 600  # Streamlit holds an upload in memory while its page is open
ORDER = ("timm", "torchvision", "hf", "")  # the usual ones first


def choose_network(opened: OpenDraft) -> None:
    """Show the choice of a network and its weights; what was chosen is kept by a button."""
    sources = _sources()
    order = [*ORDER, *(name for name in sources if name not in ORDER)]
    model, key = opened.draft.model, opened.key("source")
    if key not in st.session_state:
        prefix = model.partition(":")[0]
        st.session_state[key] = order[0] if not model else prefix if prefix in sources else ""
    left, right = st.columns([1, 2])
    prefix = left.selectbox("Source", order, format_func=lambda name: sources[name].title, key=key)
    source = sources[prefix]
    if why := source.why_not():
        st.info(message(why), icon=":material/extension:")
        return
    with right:
        kind = OWN if source.reads == "file" else _choose_weights(opened)
    # the name is in the form, too: outside, a field that loses the focus to the button may swallow its click
    with st.form("new-network", border=False):
        name, file, path = _choose_name(opened, source), None, ""
        if kind == UPLOAD:
            most = upload_limit(MOST_MIB)
            file = st.file_uploader(
                f"Weights (.safetensors, .pt, .pth, .ckpt, .bin or .pth.tar, up to {most} MB)",
                ["safetensors", "pt", "pth", "ckpt", "bin", "tar"],
                key=opened.key("file"),
                max_upload_size=most,
                help="A state dict or a Lightning checkpoint. Pickled models are refused, because loading one can run "
                "any code.",
            )
            if file is None and _is_uploaded(opened):
                st.caption(f"'{markdown(opened.draft.weights_name)}' was uploaded before.")
        elif kind == FILE:
            path = st.text_input(
                "Path of the weights",
                "" if _is_uploaded(opened) else opened.draft.weights,
                max_chars=4000,
                key=opened.key("weights"),
                placeholder="/home/me/weights.safetensors",
                help="A safetensors file, a state dict or a Lightning checkpoint.",
            ).strip()
        if not st.form_submit_button("Look at this model", icon=":material/search:", type="primary"):
            return
    if not name:
        show_error(f"Choose a network: {source.about}.")
        return
    model = f"{prefix}:{name}" if prefix else name
    try:
        network_to_open(model)
        weights, named = "", ""
        if file is not None:
            weights, named = str(drafts.upload_weights(read.store(), opened.name, file)), file.name
        elif kind == UPLOAD and _is_uploaded(opened):
            weights, named = opened.draft.weights, opened.draft.weights_name
        elif kind != OWN:
            weights = path and file_to_open(path)
            if not weights:
                show_error("Choose the file with the weights.")
                return
    except KMExError as error:
        show_error(str(error))
        return
    changes = {"model": model, "weights": weights, "weights_name": named}
    same = all(getattr(opened.draft, field) == value for field, value in changes.items())
    afresh = {} if same else {"head": "", "encoder": False, "classes": (), "preprocess": AUTO, "preprocessing": None}
    if opened.change(**changes, **afresh):
        st.rerun()


def _sources() -> dict[str, ArchitectureSource]:
    from kmex_core.networks.architectures import outside  # torch, which step 1 does not need

    return outside()


def _choose_name(opened: OpenDraft, source: ArchitectureSource) -> str:
    """The network's name in its source."""
    prefix, _, rest = opened.draft.model.partition(":")
    before = (rest if source.name else opened.draft.model) if prefix == source.name or not source.name else ""
    if not source.name and prefix in _sources():
        before = ""
    with st.spinner(f"Reading the names of {source.title}'s networks …"):
        names = source.names()
    key = opened.key(f"name-{source.name}")
    if not names:
        return st.text_input(
            {"file": "Path of the file", "folder": "Folder or name"}.get(source.reads, "Function"),
            before,
            max_chars=2000,
            key=key,
            placeholder=source.about,
            help=f"{source.about[:1].upper()}{source.about[1:]}.",
        ).strip()
    if before and before not in names:
        names = [before, *names]
    return (
        st.selectbox(
            "Network",
            names,
            names.index(before) if before else None,
            key=key,
            placeholder=f"Type to search {len(names):,} names",
            accept_new_options=True,
            help="For a network that you trained, choose its architecture here and its weights below.",
        )
        or ""
    )


def _choose_weights(opened: OpenDraft) -> str:
    key = opened.key("weights-from")
    if key not in st.session_state:
        st.session_state[key] = OWN if not opened.draft.weights else UPLOAD if _is_uploaded(opened) else FILE
    return str(
        st.segmented_control(
            "Weights",
            (OWN, FILE, UPLOAD),
            key=key,
            required=True,
            help="The source's own are its pretrained weights: taken from this machine or downloaded. Where neither is "
            "possible, the network has random weights, and every page says so.",
        )
    )


def _is_uploaded(opened: OpenDraft) -> bool:
    return drafts.is_upload_of(read.store(), opened.name, opened.draft.weights)
