"""What the component Explore is given: addresses in the workspace, and what it needs to know of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from app.selection import Selection
from app.workspace.sources import source_text
from kmex_core.data import registry as datasets
from kmex_core.data.colours import class_colours
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.stages.subject import Subject

# what the component's address says where nothing is chosen
NOTHING_CHOSEN = {
    "colour": "class",
    "show": "all",
    "classes": [],
    "test": False,
    "select": [],
    "point": "",
    "view": "",
    "picture": "",
    "framing": "",
}


def given(
    subject: Subject, chosen: Selection, sources: Sequence[PrototypeSource], timeline: dict[str, Any] | None
) -> dict[str, Any]:
    """The part of `WorkspaceData` (explore/state.js) that is the same wherever the component is shown.

    Args:
        subject: the model with its data.
        chosen: the same model, with the source that is shown first.
        sources: those that can be shown without asking anew.
        timeline: see `workspace.timeline`; None without one.
    """
    shown = {source_text(source): source for source in [chosen.source, *sources]}
    return {
        "model": model_given(subject, chosen),
        "cloud": cloud_address(subject),
        "sources": {text: addresses(subject, source) for text, source in shown.items()},
        "unconverted": [text for text, source in shown.items() if not subject.conversion(source).exists()],
        "source": source_text(chosen.source),
        "timeline": timeline,
    }


def model_given(subject: Subject, chosen: Selection) -> dict[str, Any]:
    """What the component needs to know of a model."""
    info, data = subject.info, subject.data
    labels = data.split("train").labels
    return {
        "name": info.name,
        "title": datasets.title(info.dataset),
        "by": chosen.title,
        "beside": chosen.has_black_box,
        "classes": list(info.class_names),
        "colours": list(class_colours(len(info.class_names))),
        "attributes": list(data.split("train").attribute_names),
        "sizes": np.bincount(labels, minlength=len(info.class_names)).tolist(),
        "train": len(labels),
        "test": len(data.split("test")),
        "side": info.image_size,
        "state": data.fingerprint,
    }


def cloud_address(subject: Subject) -> str:
    """Where the images' places on the embedding map are, in the model's workspace."""
    return f"cloud/{subject.embedding_map().key}.bin"


def addresses(subject: Subject, source: PrototypeSource) -> dict[str, str]:
    """Where the prototypes of a source are, in the model's workspace, and their key in the store."""
    key, text = subject.conversion(source).key, quote(source_text(source), safe=":")
    return {
        "key": key,
        "layer": f"layer/{key}.bin?source={text}",
        "certainty": f"certainty/{key}.bin?source={text}",
    }
