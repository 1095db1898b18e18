"""A data set whose folder, classes and attributes have names that Markdown, HTML, charts and spreadsheets act upon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kmex_core.base.store import Store
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks import architectures
from tests.helpers.pictures import encoded, striped

FOREIGN = "http://foreign.invalid"
NAMES = (
    f"![x]({FOREIGN.replace('/', '⁄')})",  # a folder cannot have a slash: the attributes below have
    "**bold** :red[red] $x^2$",
    "<img src=x onerror=alert(1)>",
    ":material_home: :smile: `code` [l](x)",
)
ATTRIBUTES = (f"![x]({FOREIGN}/a.png)", "=cmd|'x'!A0", f"<img src='{FOREIGN}/b.png'>", "*a* :red[b]")


def hostile_model(store: Store, root: Path) -> ModelInfo:
    """An untrained network of such a data set, in the store."""
    folder = root / "**data** :blue[set] <b>"
    rows = ["file_name," + ",".join(f'"{name}"' for name in ATTRIBUTES)]
    for split, count in (("train", 12), ("test", 6)):
        for label, name in enumerate(NAMES):
            here = folder / split / name
            here.mkdir(parents=True)
            for number, image in enumerate(striped(label, count, 16, 3, seed=len(split))):
                (here / f"{number}.png").write_bytes(encoded(image))
                flags = ",".join(str((number + at) % 2) for at in range(len(ATTRIBUTES)))
                rows.append(f'"{split}/{name}/{number}.png",{flags}')
    (folder / "attributes.csv").write_text("\n".join(rows))
    info = ModelInfo(
        name="hostile",
        kind="blackbox",
        dataset=str(folder),
        root="",
        backbone="resnet20",
        class_names=tuple(sorted(NAMES)),
        preprocessing=Preprocessing.plain(16, 3, (0.5,) * 3, (0.5,) * 3),
        accuracy=0.25,
        made_by={},
    )
    models.save(store, info, architectures.build("resnet20", len(NAMES), 16))
    return replace(info, embedded=False)
