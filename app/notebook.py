"""Explore in a notebook: the same component as on the page, which reaches Python by messages instead of a server."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from app.figures.palette import custom_properties
from app.selection import DEFAULT_K, KS, SWEEP_SEEDS, Selection
from app.workspace import catalogue
from app.workspace.answer import Answer, Asked, Gone
from app.workspace.given import NOTHING_CHOSEN, given
from app.workspace.sources import source_text
from app.workspace.timeline import timeline
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.store import Store, read_only
from kmex_core.data.display import displayed, png
from kmex_core.prototypes.source import SUGGESTED, KMeans, PrototypeSource
from kmex_core.stages.subject import Subject, subject_of

if TYPE_CHECKING:
    from anywidget import AnyWidget

    from kmex_core.models.kmex import KMEx

BUNDLE = Path(__file__).resolve().parent / "assets" / "web" / "bundle"
NAME = "notebook"  # of a KMEx that comes from Python
HEIGHT, SIDE = 760, 96  # pixels: of the widget, and of thumbnails
PICTURES = "pictures/"


def show(
    what: KMEx | Subject | str,
    source: PrototypeSource | None = None,
    *,
    store: Store | None = None,
    height: int = HEIGHT,
) -> AnyWidget:
    """Explore a model in a notebook.

    Needs the extra `notebook` (`pip install kmex-explorer[notebook]`). What is missing is computed first: the embedding
    map and the prototypes for 1 to 20 per class. A KMEx made in Python is added to a store of its own, which is removed
    with the widget, so all results are those of the pages; edits saved there are lost with it.

    Args:
        what: a KMEx made by `KMEx.from_model` with `test` images, a `Subject`, or the name of a model in the store.
        source: the prototypes to begin with; the KMEx's own, else 5 per class.
        store: of the model that is named; the default one when None.
        height: of the widget, in pixels.

    Returns:
        The widget: what a notebook shows of it is Explore. `widget.address` follows what is selected there.

    Raises:
        InputError: without anywidget, for a KMEx that cannot be added to a store, or an unknown model.
    """
    widget_class = _widget_class()
    subject, own, folder = _bound(what, store)
    return widget_class(subject, Selection(subject.info, source or own), height, folder)


def _bound(
    what: KMEx | Subject | str, store: Store | None
) -> tuple[Subject, PrototypeSource, tempfile.TemporaryDirectory[str] | None]:
    """A model with its data, the prototypes to begin with, and the folder that has to live as long."""
    if isinstance(what, str):
        return subject_of(store or Store(), what), KMeans(DEFAULT_K), None
    if isinstance(what, Subject):
        return what, KMeans(DEFAULT_K), None
    folder = tempfile.TemporaryDirectory(prefix="kmex-notebook-")
    of_its_own = Store(Path(folder.name))
    what.add_to_store(NAME, store=of_its_own)
    return subject_of(of_its_own, NAME), _source_of(what), folder


def _source_of(kmex: KMEx) -> KMeans:
    """The source of the prototypes that a KMEx was made with."""
    counts = kmex.made_by["k"]  # a list where the classes' numbers differ
    return KMeans(counts if isinstance(counts, int) else SUGGESTED, int(kmex.made_by["seed"]), kmex.metric.name)


def workspace_data(subject: Subject, chosen: Selection) -> dict[str, Any]:
    """What the component is given (`WorkspaceData` in explore/state.js), after what it shows is made."""
    subject.embedding_map().get()
    kmeans, over_k = chosen.kmeans, None
    if chosen.is_kmex:
        sweeps = [subject.read(subject.sweep(kmeans.seeded(seed))) for seed in SWEEP_SEEDS]
        evidence = subject.read(subject.suggestion(kmeans.metric))
        over_k = timeline(sweeps, evidence, lambda k: source_text(KMeans(k, kmeans.seed, kmeans.metric)))
    sources = [KMeans(k, kmeans.seed, kmeans.metric) for k in KS if over_k]
    return {
        **given(subject, chosen, sources, over_k),
        "base": "",
        "pictures": PICTURES,
        "can": {"pictures": True, "edits": not read_only(), "open": False},
        "address": dict(NOTHING_CHOSEN),
        "turn": 0,
    }


def answer(subject: Subject, message: Mapping[str, Any], body: bytes = b"") -> Answer:
    """Answer a message of the component: what the server answers by `routes.workspace` and `routes.pictures`.

    Args:
        subject: the model.
        message: `method` "GET" or "POST", `address` in the workspace, and `name` of a file that is sent.
        body: what is sent.

    Raises:
        KMExError: for what there is not, or cannot be.
    """
    method, parts = str(message.get("method")), urlsplit(str(message.get("address")))
    kind, _, rest = parts.path.partition("/")
    if method == "GET" and f"{kind}/" == PICTURES:
        return Answer(thumbnail(subject, rest), "image/png")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if method == "GET":
        return catalogue.read(subject, kind, Asked(rest.partition(".")[0], query))
    return catalogue.send(subject, kind, Asked("", query, body, str(message.get("name") or "")))


def thumbnail(subject: Subject, name: str) -> bytes:
    """The PNG file of an image, `<split>/<index>.png`.

    Raises:
        Gone: for an image that the data set does not have.
    """
    match = re.fullmatch(r"(train|test)/(\d{1,9})\.png", name, re.ASCII)
    if match is None or int(match[2]) >= len(subject.data.split(match[1])):
        raise Gone("There is no such picture.")
    return png(displayed(subject.data.split(match[1]).image(int(match[2])), SIDE, SIDE))


@functools.cache
def _widget_class() -> type[AnyWidget]:
    """The class of the widget: made when one is shown, since anywidget is optional."""
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise InputError(
            "Notebooks need the package anywidget, which is not installed: pip install 'kmex-explorer[notebook]'."
        ) from None

    class Explorer(anywidget.AnyWidget):
        """Explore as a widget.

        Attributes:
            data: what the component is given, see `workspace_data`.
            address: what is chosen there: `colour`, `show`, `select`, `point`, … as in the page's address.
            height: in pixels.
        """

        _esm = BUNDLE / "explore.js"
        _css = f"{custom_properties()}\n{(BUNDLE / 'explore.css').read_text(encoding='utf-8')}"
        data = traitlets.Dict().tag(sync=True)
        address = traitlets.Dict().tag(sync=True)
        height = traitlets.Int(HEIGHT).tag(sync=True)

        def __init__(
            self, subject: Subject, chosen: Selection, height: int, folder: tempfile.TemporaryDirectory[str] | None
        ) -> None:
            super().__init__(data=workspace_data(subject, chosen), height=height)
            self.subject = subject
            self._folder = folder  # removed with the widget
            self.on_msg(self._answer)

        def _answer(self, _widget: Any, message: Any, buffers: list[Any]) -> None:
            if not isinstance(message, Mapping) or "id" not in message:
                return
            try:
                found = answer(self.subject, message, bytes(buffers[0]) if buffers else b"")
            except KMExError as error:
                self.send({"id": message["id"], "error": str(error)})
            else:
                self.send({"id": message["id"]}, buffers=[found.content])

    return Explorer
