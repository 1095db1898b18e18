"""Many people at once: sessions that each explain image after image, over the protocol that browsers speak."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin
from urllib.request import urlopen

import numpy as np
import websockets
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks import pages
from kmex_core.base.store import Store
from kmex_core.data.display import packed_relevance
from kmex_core.models import catalogue as models
from kmex_core.models.catalogue import network_input
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

SESSIONS, SECONDS, K = 20, 60.0, 5
LONGEST = 120.0


@dataclass(frozen=True)
class Answer:
    """What a page said of a test image.

    Attributes:
        image: its index.
        seconds: from the question to the end of the answer.
        prototype: the nearest, −1 when the board named none.
        relevance: the first map, as `images.packed_relevance` packs it.
        error: what the page showed instead; "" for nothing.
    """

    image: int
    seconds: float
    prototype: int
    relevance: bytes
    error: str


class Session:
    """A person who has the page Explain open."""

    def __init__(self, socket: websockets.ClientConnection, server: str) -> None:
        self._socket, self._server = socket, server
        self._field = ""  # the widget with the number of the image, once the page has said so

    async def explain(self, image: int) -> Answer:
        """Ask for a test image: by a link at first, then by its number."""
        question = BackMsg()
        question.rerun_script.query_string = urlencode({"model": "digits", "image": image, "k": K})
        question.rerun_script.page_name = "explain"
        if self._field:
            question.rerun_script.widget_states.widgets.add(id=self._field, double_value=image)
        started, error = time.perf_counter(), ""
        await self._socket.send(question.SerializeToString())
        sent: dict[str, Any] = {}
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(self._socket.recv(decode=False), LONGEST))
            kind = message.WhichOneof("type")
            if kind == "script_finished":
                prototype, relevance = await asyncio.to_thread(self._board, sent) if sent else (-1, b"")
                return Answer(image, time.perf_counter() - started, prototype, relevance, error)
            if kind != "delta":
                continue
            element = message.delta.new_element
            match element.WhichOneof("type"):
                case "number_input":
                    self._field = element.number_input.id
                case "bidi_component" if element.bidi_component.component_name == "kmex_explain":
                    sent = json.loads(element.bidi_component.json)
                case "alert" if element.alert.format == Alert.ERROR:
                    error = element.alert.body

    def _board(self, sent: dict[str, Any]) -> tuple[int, bytes]:
        """The nearest prototype and its map, as the board in the browser asks for them."""
        query = urlencode({"source": sent["source"], "picture": sent["address"]["picture"]})
        base = urljoin(self._server, sent["base"])
        board, maps = (
            json.load(urlopen(f"{base}{kind}/{sent['key']}.json?{query}", timeout=LONGEST))
            for kind in ("board", "maps")
        )
        return board["prototypes"][0]["p"], base64.b64decode(maps["rows"][0]["picture"]["map"]["values"])


async def _session(address: str, images: Iterator[int], until: float) -> list[Answer]:
    answers = []
    async with websockets.connect(
        f"{address}/_stcore/stream", subprotocols=[websockets.Subprotocol("streamlit")], max_size=None
    ) as socket:
        session = Session(socket, f"{address.replace('ws', 'http', 1)}/")
        while time.monotonic() < until:
            answers.append(await session.explain(next(images)))
    return answers


def sessions(address: str, count: int, seconds: float, images: int) -> list[Answer]:
    """Let `count` sessions explain test images (0 … `images` − 1, each another) one after the other for so long.

    Args:
        address: of the server, "ws://127.0.0.1:<port>".
        count: how many sessions there are at once; each asks again as soon as it has its answer.
        seconds: after which no further question is asked.
        images: how many test images there are.
    """
    order = itertools.cycle(range(images))

    async def all_of_them() -> list[list[Answer]]:
        until = time.monotonic() + seconds
        return await asyncio.gather(*(_session(address, order, until) for _ in range(count)))

    return [answer for answers in asyncio.run(all_of_them()) for answer in answers]


def wrong(store: Store, answers: list[Answer]) -> list[str]:
    """What is wrong with answers about the digits' test images, by the engine itself."""
    info = models.describe(store, "digits")
    data = dataset_of(info)
    kmex = Subject(store, info, data).explainer(KMeans(K))
    faults = []
    for image in sorted({answer.image for answer in answers}):
        right = kmex.explain(network_input(info, data.split("test").image(image)), top=3)
        nearest = int(np.argmin(right.distance))
        relevance = np.frombuffer(packed_relevance(right.maps.values[0]), np.int8).astype(int)
        for answer in (answer for answer in answers if answer.image == image):
            drawn = np.frombuffer(answer.relevance, np.int8).astype(int)
            if answer.error or answer.prototype != nearest:
                faults.append(f"image {image}: prototype {answer.prototype}, not {nearest}; {answer.error}")
            elif drawn.shape != relevance.shape or np.abs(drawn - relevance).max() > 1:  # rounded to 255 levels
                faults.append(f"image {image}: another map")
    return faults


def measure(count: int = SESSIONS, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """How long an explanation takes when many people ask at once."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        info = models.describe(store, "digits")
        data = dataset_of(info)
        Subject(store, info, data).conversion(KMeans(K)).get()
        server = pages.start_server(store.root)
        try:
            pages.until_up()
            address = pages.ADDRESS.replace("http", "ws")
            images = len(data.split("test"))
            sessions(address, 2, 5, images)  # imports and first copies
            alone = sessions(address, 1, 10, images)
            together = sessions(address, count, seconds, images)
        finally:
            server.terminate()
            server.wait()
        if faults := wrong(store, [*alone, *together]):
            raise SystemExit(f"{len(faults)} wrong answers: {faults[:5]}")
    waited = np.array([answer.seconds for answer in together])
    one = pages.row("an explanation, one session: question to the end of the answer", [a.seconds for a in alone], 2)
    row = {"runs": len(together), "unit": "s"}
    what = f"an explanation, {count} sessions that ask without a pause"
    return [
        one,
        row | {"what": f"{what}: half wait at most", "median": round(float(np.quantile(waited, 0.5)), 3)},
        row | {"what": f"{what}: 95% wait at most", "median": round(float(np.quantile(waited, 0.95)), 3), "target": 8},
        {"what": f"{what}: wrong answers", "median": 0, "runs": len(together), "unit": "", "better": "lower"},
    ]
