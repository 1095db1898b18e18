"""Sentences that occur on several pages, and the engine's sentences on pages."""

from __future__ import annotations

import re
from pathlib import Path

from kmex_core.base.location import default_root
from kmex_core.base.plain_text import markdown
from kmex_core.base.plain_text import message as as_markdown
from kmex_core.data import registry as datasets
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.operations import summary
from kmex_core.prototypes.source import PrototypeSource, Version, per_class_words

MEANWHILE = "You can leave this page; the work continues."
ONCE_PER_MODEL = "Takes seconds to minutes, once per model."
GHOST = "A ghost is not the nearest prototype of any training image of its class."
EXEMPLARS = "Each image is the exemplar of a prototype: the nearest training image of its class."
IMPORTANCE = (
    "Below it is the prototype's importance: the share and the number of the class's training images that it is the "
    "nearest prototype of. If there are none, the prototype is a **ghost**."
)
BETTER = (
    "Better: by more than 1.96 standard errors of the differences, image by image. Numbers in parentheses are means "
    "over the images."
)
EXPLAIN = "Explain with relevance maps"
MAY_BE_GONE = "It may have been deleted or renamed."
A_CLASS = "Choose one of this data set's classes."


def interval(low: float, high: float) -> str:
    """The 95% Wilson interval of a share, 0…1, as a sentence."""
    return f"95% Wilson interval: {low:.1%} to {high:.1%}."


def what_it_is(info: ModelInfo) -> str:
    """A model in a sentence or two, as Markdown."""
    does = "that classifies" if info.predicts else "whose embedding KMEx uses to classify"
    role = f" {info.role}" if info.role else ""
    return (
        f"**{markdown(info.name)}** is a {markdown(info.backbone)} {does} {markdown(datasets.title(info.dataset))} "
        f"into {len(info.class_names)} classes.{role} Its input: {info.preprocessing.words()}."
    )


def how_it_works(kind: str, source: PrototypeSource) -> str:
    """How a kind of model predicts by its built-in prototypes, or KMEx by those that it finds, as Markdown."""
    if source.built_in:
        return MODEL_KINDS[kind].about
    edited = ""
    if isinstance(source, Version):
        edited, source = (
            f" The version *{markdown(source.name)}* edits them: {summary(source.operations)}.",
            source.base,
        )
    return (
        "KMEx keeps the trained network up to its last layer and clusters the embeddings of each class's training "
        f"images with k-means. The cluster centres are the **prototypes**, currently "
        f"{per_class_words(source.per_class(0))}.{edited} A new image gets the class of its nearest prototype, so "
        "*this looks like that* is the computation itself, not a post-hoc rationalisation."
    )


def short(text: str) -> str:
    """`text` without where the store, the data root and the home are: that is nobody's business but this machine's."""
    for place, name, below in (
        (datasets.data_root(), "the data folder", ""),
        (default_root(), "the store", ""),
        (Path.home(), "~", "~/"),
    ):
        if len(place.parts) > 1:  # not the root of the file system, which every path begins with
            begin, path = r"(?<![\w./-])", re.escape(str(place))
            text = re.sub(rf"{begin}{path}/", below, text)
            text = re.sub(rf"{begin}(?:{name} at )?{path}(?![\w-]|\.\w)", name, text)
    return text


def message(text: str) -> str:
    """An error message or a note of the engine as Markdown: with the names in it as they are, and `short` paths."""
    return as_markdown(short(text))
