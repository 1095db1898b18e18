"""What `make bench` measures, in this order, and what else can be measured by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A module of `benchmarks` with a function `measure`, whose rows are kept in `results/`.

    Attributes:
        name: of the module.
        title: of its section in `docs/benchmarks.md`.
        about: what it compares or times, and how, in a sentence or two.
        minutes: about how long it takes on two quiet cores.
    """

    name: str
    title: str
    about: str
    minutes: float

    def measure(self) -> list[dict[str, Any]]:
        """The rows. Imports what it needs now: a machine with a GPU may have no browser."""
        rows: list[dict[str, Any]] = importlib.import_module(f"benchmarks.{self.name}").measure()
        return rows


BENCH = (
    Part(
        "rivals",
        "Conversion and k-means",
        "An embedding of 60,000 images and 512 dimensions in 10 classes, generated. The conversion finds prototypes, "
        "the images next to each and the prototype next to each image; beside it the paper's released procedure, "
        "written anew. k-means alone runs beside other implementations, each with its own defaults but for the number "
        "of starts.",
        9,
    ),
    Part(
        "sweep",
        "Every number of prototypes at once",
        "k-means for k = 1 to 20 in one computation, beside one by one and other implementations; whole sweeps with "
        "their measures; and suggested numbers on planted groups.",
        7,
    ),
    Part(
        "extraction",
        "Extraction",
        "Images through a network to embeddings, beside the bare loop over ready tensors and a plain DataLoader.",
        6,
    ),
    Part(
        "relevance",
        "Relevance maps",
        "Maps of many prototypes for one image by the published rules (PRP), in one pass through the network, beside "
        "one pass of zennit for each map with the same rules on the same layers. Networks have random weights: they "
        "change no cost.",
        3,
    ),
    Part(
        "projection",
        "Embedding map",
        "The map of an embedding in two dimensions, beside umap-learn and PaCMAP.",
        6,
    ),
    Part(
        "evaluation",
        "Metrics on relevance maps",
        "All metrics on maps of a ResNet34 at 32 × 32 pixels with 5 prototypes per class, in one pass over the images, "
        "beside a loop over images, prototypes and steps.",
        2,
    ),
    Part(
        "attributes",
        "Attributes",
        "The audit at CelebA's size: 162,770 images, 512 dimensions and 39 attributes, generated.",
        2,
    ),
    Part("start", "Start of the dashboard", "From `streamlit run` to the first figure, and the server's memory.", 3),
    Part(
        "pages",
        "Pages",
        "What a person waits for on the demo with a warm store, in headless Chromium on the same machine.",
        3,
    ),
    Part(
        "map",
        "Explore with 60,000 images",
        "Dragging the timeline and the map, in headless Chromium on the same machine, without a graphics card.",
        6,
    ),
    Part(
        "million",
        "Explore with 1,000,000 images",
        "Panning, zooming and the timeline, in headless Chromium on the same machine, without a graphics card.",
        5,
    ),
    Part("scale", "Growth", "How the cost of each step grows; docs/scale.md has it in full.", 7),
)
MORE = (
    Part("engine", "Quality of k-means, and distances", "Planted groups that are found, and exact distances.", 3),
    Part("load", "Many people at once", "Sessions that ask for explanations without a pause.", 2),
    Part("edits", "Edits of prototypes", "What the server answers, and from the click to the scores on Explore.", 9),
    Part("board", "A dropped photo", "From the drop to the board, its maps and their verdicts.", 7),
    Part("explain", "An explanation in parts", "Passes of images through the network, and processor time.", 4),
    Part(
        "large",
        "Sharded embeddings in the dashboard",
        "A generated embedding of 1,000,000 rows, 64 dimensions and 10 classes, from its rows to its page; each step "
        "in a process of its own.",
        8,
    ),
    Part("baselines", "Models and their KMEx", "Accuracy, ghosts and diversity, trained on the digits.", 20),
    Part("metrics", "The published and the whitened metric", "Accuracy, agreement, calibration and ghosts.", 15),
    Part("memory", "Memory of commands on photos", "Beside the same commands of an earlier version.", 25),
)
GPU = Part(
    "gpu", "On a GPU", "Extraction, k-means and sweep, relevance maps and training steps, on the graphics card.", 8
)
ALL = {part.name: part for part in (*BENCH, *MORE, GPU)}
MOST = 60  # minutes of all of `BENCH`
