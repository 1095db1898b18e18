"""One row per image of a data set, with its embedding and what is predicted for it, as a Parquet file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.files import write_stream
from kmex_core.base.jsontext import write_json
from kmex_core.base.plain_text import utf8
from kmex_core.base.progress import Event
from kmex_core.base.provenance import versions
from kmex_core.data.display import picture_file, reduced
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.stored import stored_conversion
from kmex_core.stages.subject import Subject

if TYPE_CHECKING:
    import pyarrow as pa

    from kmex_core.analysis.types import Projection
    from kmex_core.models.kmex import KMEx

ROWS = 4096  # in a row group
SIDE = 64  # of a thumbnail in pixels, at most
KEY = b"kmex"  # of the file's metadata
TEXTS = ["split", "file_name", "class", "predicted", "black_box"]


def write_image_table(
    subject: Subject, source: PrototypeSource, out: Path, thumbnails: bool = False
) -> tuple[int, list[str]]:
    """Write one row per image of all splits, a row group at a time.

    Columns: `split`, `index` (in the split), `file_name` (in the data set; null for images that are no files), `label`
    and `class`; `predicted` and `black_box`, the classes that KMEx (or a model by its built-in prototypes) and the
    black box predict (null where there is none); `posterior` of `predicted`, 0…1; `prototype`, the nearest one, its
    `distance` and `distance_other`, that of the nearest prototype of another class (null for one class; in the unit of
    the prototypes' space, or negative similarities where these are dot products); `x` and `y` on the embedding map
    (null if that was not computed); `embedding`, a list of D float32; with `thumbnails`, `image`, the bytes of a
    picture of at most `SIDE` pixels. The metadata `kmex` is a JSON object that says what made the file.

    Returns:
        The number of rows, and notes on what is missing.

    Raises:
        InputError: see `stored_conversion`.
        StoreError: when it cannot be written.
    """
    import pyarrow.parquet as pq

    conversion = stored_conversion(subject, source)
    projection = subject.embedding_map().peek()
    beside = subject.info.predicts and not source.built_in
    table = _ImageTable(subject, conversion, subject.explainer(source), projection, beside, thumbnails)
    schema = table.schema(subject.read(subject.embedding("train")).z.shape[1], _metadata(subject, source, conversion))
    folder = next(above for above in out.absolute().parents if above.is_dir())
    done, total = 0, sum(map(len, subject.data.splits.values()))
    with tempfile.TemporaryFile(dir=folder) as file:
        with pq.ParquetWriter(file, schema, use_dictionary=TEXTS) as writer:
            for batch in table.batches(schema):
                writer.write_table(batch)
                done += len(batch)
                subject.progress(Event("Writing images", done, total))
        file.seek(0)
        write_stream(out, file)
    if projection is not None:
        return done, []
    missing = "The columns x and y are empty: the embedding map has not been computed. Compute it with: "
    return done, [f"{missing}python -m kmex_core project --model {subject.info.name}"]


def _metadata(subject: Subject, source: PrototypeSource, conversion: Conversion) -> dict[str, Any]:
    """What made the rows, and what their numbers stand for."""
    return {
        "model": subject.info.name,
        "dataset": subject.info.dataset,
        "data": subject.data.fingerprint,
        "weights": subject.weights,
        "classes": list(subject.info.class_names),
        "prototypes": subject.conversion(source).described(),
        "metric": conversion.metric.name,
        "prototype_classes": conversion.prototypes.classes,
        "versions": versions(),
        "notes": subject.notes(),
    }


@dataclass(frozen=True, eq=False)
class _ImageTable:
    """See `write_image_table`."""

    subject: Subject
    conversion: Conversion
    module: KMEx
    projection: Projection | None
    has_black_box: bool
    thumbnails: bool

    def schema(self, dimensions: int, metadata: dict[str, Any]) -> pa.Schema:
        import pyarrow as pa

        text, real = pa.string(), pa.float32()
        fields = [
            *(("split", text), ("index", pa.int64()), ("file_name", text), ("label", pa.int64()), ("class", text)),
            *(("predicted", text), ("black_box", text), ("posterior", real), ("prototype", pa.int64())),
            *(("distance", real), ("distance_other", real), ("x", real), ("y", real)),
            ("embedding", pa.list_(real, dimensions)),
        ]
        if self.thumbnails:  # as Hugging Face's data sets have pictures
            fields.append(("image", pa.struct([("bytes", pa.binary()), ("path", text)])))
        return pa.schema(fields, metadata={KEY: write_json(metadata).encode()})

    def batches(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """The rows of each split in order, at most `ROWS` at a time."""
        for split in self.subject.data.splits:
            embedded = self.subject.read(self.subject.embedding(split))
            for start in range(0, len(embedded), ROWS):
                yield self._batch(schema, split, embedded, np.arange(start, min(start + ROWS, len(embedded))))

    def _batch(self, schema: pa.Schema, split: str, embedded: Embeddings, rows: np.ndarray) -> pa.Table:
        import pyarrow as pa

        z = embedded.z[rows]
        names = np.array([utf8(name) for name in self.subject.info.class_names], dtype=object)
        files = [self.subject.data.split(split).file_name(int(row)) for row in rows]
        paths = [None if name is None else utf8(name) for name in files]
        columns: dict[str, Any] = {
            "split": [split] * len(rows),
            "index": rows,
            "file_name": paths,
            "label": embedded.labels[rows],
            "class": names[embedded.labels[rows]],
            "black_box": names[embedded.black_box[rows]] if self.has_black_box else [None] * len(rows),
            **self._predicted(split, z, rows, names),
            **self._places(split, z, rows),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(z.reshape(-1)), z.shape[1]),
        }
        if self.thumbnails:
            pictures = (picture_file(reduced(self.subject.data.split(split).image(int(row)), SIDE))[0] for row in rows)
            columns["image"] = [{"bytes": picture, "path": path} for picture, path in zip(pictures, paths, strict=True)]
        return pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema)

    def _predicted(self, split: str, z: np.ndarray, rows: np.ndarray, names: np.ndarray) -> dict[str, Any]:
        """What is predicted for embeddings (n, D), and the prototypes that they are near to."""
        import torch

        conversion, of_class = self.conversion, self.module.prototype_class
        known = {
            "train": (conversion.train_predicted, conversion.prototypes.activated),
            "test": (conversion.test_predicted, conversion.test_activated),
        }.get(split)
        with torch.no_grad():
            points = torch.from_numpy(z).to(of_class.device)
            distance = self.module.distance(points)  # (n, K)
            predicted, nearest = self.module.predict(points), distance.argmin(1)
            if known is not None:  # as pages have it, where two are equally near
                predicted, nearest = (torch.from_numpy(of[rows]).long().to(points.device) for of in known)
            posterior = self.module.posterior(points).gather(1, predicted[:, None])[:, 0]
            others = distance.masked_fill(of_class == of_class[nearest][:, None], torch.inf).amin(1).cpu().numpy()
        # the temperature of a test image was fitted without it
        certain = conversion.test_confidence[rows] if split == "test" else posterior.cpu().numpy()
        return {
            "predicted": names[predicted.cpu().numpy()],
            "posterior": certain.astype(np.float32),
            "prototype": nearest.cpu().numpy(),
            "distance": distance.gather(1, nearest[:, None])[:, 0].cpu().numpy(),
            "distance_other": [float(value) if np.isfinite(value) else None for value in others],
        }

    def _places(self, split: str, z: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
        from kmex_core.analysis.projection import place

        if self.projection is None:
            return {"x": [None] * len(rows), "y": [None] * len(rows)}
        stored = {"train": self.projection.train, "test": self.projection.test}
        places = stored[split][rows] if split in stored else place(self.projection, z)
        return {"x": places[:, 0], "y": places[:, 1]}
