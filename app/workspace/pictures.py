"""Pictures to explain: those that browsers send, in memory only, and images of the data set."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, replace

import numpy as np

from app.workspace.answer import Answer, Asked, Gone, json_answer
from app.workspace.bounded import Bounded
from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import plain
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.pictures import MAX_BYTES, read_picture
from kmex_core.stages.subject import Subject

# of the pictures that the server keeps at most, for all who use it together; the largest one has 120 MB
MOST, MOST_BYTES = 64, 256 * 2**20
DECODED_AT_ONCE = 2  # each may take some hundred megabytes while it is decoded
NAME = 120  # characters
GONE = "The server no longer has this picture; drop it again."

_DIGEST = re.compile(r"[0-9a-f]{32}")
_OF_DATA = re.compile(r"(train|test)-(\d{1,9})", re.ASCII)


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture to explain.

    Attributes:
        picture: what names it in addresses: a digest, "test-3" or "train-5".
        title: what people call it: the name of its file, "Test image 3".
        pixels: (H, W) or (H, W, 3) uint8.
        label: its true class, None when unknown.
        notes: changes made while decoding, a sentence each.
    """

    picture: str
    title: str
    pixels: np.ndarray
    label: int | None = None
    notes: tuple[str, ...] = ()


_kept: Bounded[Shown] = Bounded(MOST, MOST_BYTES, lambda shown: shown.pixels.nbytes)
_decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)


def keep_picture(content: bytes, name: str) -> Shown:
    """Decode a file and keep its picture.

    Args:
        content: of the file, from outside.
        name: of the file, a text from outside.

    Raises:
        InputError: for what is no picture, see `read_picture`.
    """
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    title = plain(name)[-NAME:] or "Your picture"
    shown = _kept.get(digest)
    if shown is None:
        with _decoding:
            picture = read_picture(content, f"'{title}'")
        shown = Shown(digest, title, picture.pixels, None, picture.notes)
    elif shown.title != title:
        shown = replace(shown, title=title)
    _kept.put(digest, shown)
    return shown


def picture_of(data: ImageDataset, picture: str) -> Shown:
    """The picture that an address names.

    Args:
        data: the model's data set.
        picture: a digest, "test-3" or "train-5".

    Raises:
        Gone: for a picture that is not, or no longer, in memory, or an image that the data set does not have.
        InputError: for any other text.
    """
    if _DIGEST.fullmatch(picture):
        kept = _kept.get(picture)
        if kept is None:
            raise Gone(GONE)
        return kept
    match = _OF_DATA.fullmatch(picture)
    if match is None:
        raise InputError(
            f"Unknown picture '{picture[:40]}'. Expected test-3 or train-5, for example, or drop a picture."
        )
    split, index = data.split(match[1]), int(match[2])
    kind = "Test" if match[1] == "test" else "Training"
    if index >= len(split):
        raise Gone(f"{kind} images are numbered 0 to {len(split) - 1:,}; there is no {index:,}.")
    return Shown(f"{match[1]}-{index}", f"{kind} image {index}", split.image(index), int(split.labels[index]))


def pictures(_: Subject, asked: Asked) -> Answer:
    """Keep a picture that was sent: what names it from now on."""
    shown = keep_picture(asked.body, asked.name)
    return json_answer({"picture": shown.picture, "title": shown.title, "notes": shown.notes}, lasting=False)


MOST_SENT = MAX_BYTES
