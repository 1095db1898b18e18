"""Commands that look at a model by prototypes: convert, patches, explain, sweep, project."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    First,
    Json,
    K,
    ModelName,
    Overwrite,
    Own,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    number_range,
    opened,
)
from kmex_core.models.catalogue import network_input
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.prototypes.types import fewer_prototypes

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject


@app.command()
def convert(
    model: ModelName,
    k: K = 5,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    mixed_precision: Annotated[
        bool,
        typer.Option("--mixed-precision", help="Embed in 16-bit floats where torch deems it safe (quicker on GPUs)."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn a trained model into a KMEx: k-means per class on its training embedding.

    The embedding is computed once per model and kept in the store; after that, every further k takes a moment.

    Example: python -m kmex_core convert --model digits --k 5
    """

    def work(bar: Bar) -> dict[str, Any]:
        started = time.perf_counter()
        subject = opened(model, data_root, skip_broken, device, bar)
        info = subject.info
        made = subject.conversion(KMeans(k, seed), mixed_precision).get()
        summary = made.summary
        return {
            "model": info.name,
            "dataset": info.dataset,
            "k": k,
            "seed": seed,
            "test_images": summary.images,
            "accuracy_black_box": summary.accuracy_black_box,
            "accuracy_kmex": summary.accuracy_kmex,
            "agreement": summary.agreement,
            "ghosting": summary.ghosting,
            "prototypes": len(made.prototypes),
            "seconds": round(time.perf_counter() - started, 3),
        } | about(subject, fewer_prototypes(made.prototypes, info.class_names, k))

    def show(answer: dict[str, Any]) -> None:
        print(
            f"'{answer['model']}' with {answer['k']} prototypes per class, "
            f"over {answer['test_images']:,} test images:\n"
            f"  accuracy of the black box  {answer['accuracy_black_box']:8.2%}  (higher is better)\n"
            f"  accuracy of KMEx           {answer['accuracy_kmex']:8.2%}  (higher is better)\n"
            f"  both predict the same      {answer['agreement']:8.2%}  (higher is better)\n"
            f"  ghost prototypes           {answer['ghosting']:8.2%}  (lower is better)\n"
            f"Next: python -m kmex_core explain --model {answer['model']} --k {answer['k']} --image FILE --out DIR"
        )

    answer_with(as_json, work, show)


@app.command()
def patches(
    model: ModelName,
    k: K = 5,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A PNG of all patch prototypes, as rectangles in their images.")
    ] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Find prototypes of patches, and let each image's patches vote (paper, A.4).

    Patches are the places of the last map before global average pooling: 49 for a ResNet at 224×224 pixels.

    Example: python -m kmex_core patches --model faces --k 5 --out patches.png
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import export as report
        from kmex_core.base.files import write_bytes
        from kmex_core.base.outputs import check_file

        if out is not None:
            check_file(out, overwrite)
        subject = opened(model, data_root, skip_broken, device, bar)
        info = subject.info
        made = subject.patches(k, seed).get()
        if out is not None:
            write_bytes(out, report.patch_sheet(made.prototypes, info.class_names, subject.data))
        return {
            "model": model,
            "k": k,
            "seed": seed,
            "grid": made.prototypes.grid.tolist(),
            "accuracy": made.accuracy,
            "accuracy_black_box": made.accuracy_black_box,
            "agreement": made.agreement,
            "ghosting": float((made.prototypes.count == 0).mean()),
            "seconds": round(made.seconds, 3),
            "out": str(out) if out else None,
        } | about(subject, fewer_prototypes(made.prototypes, info.class_names, k))

    def show(answer: dict[str, Any]) -> None:
        rows, columns = answer["grid"]
        print(
            f"'{answer['model']}', {rows}×{columns} patches, {answer['k']} prototypes per class:\n"
            f"  accuracy of the black box  {answer['accuracy_black_box']:8.2%}  (higher is better)\n"
            f"  accuracy of the vote       {answer['accuracy']:8.2%}  (higher is better)\n"
            f"  both predict the same      {answer['agreement']:8.2%}  (higher is better)\n"
            f"  ghost prototypes           {answer['ghosting']:8.2%}  (lower is better)"
        )
        if answer["out"]:
            print(f"The prototypes are in {answer['out']}.")

    answer_with(as_json, work, show)


@app.command()
def explain(
    model: ModelName,
    image: Annotated[Path, typer.Option(metavar="FILE", help="A picture: PNG, JPEG, WebP, AVIF, HEIC, …")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the maps go; made if it is not there.")],
    k: K = 5,
    own: Own = False,
    seed: Seed = 0,
    top: Annotated[int, typer.Option(min=1, help="How many of the nearest prototypes get a map.")] = 3,
    method: Annotated[
        str, typer.Option(help="auto, prp (ResNet and VGG) or integrated_gradients (any network).")
    ] = "auto",
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Explain one picture: predictions, the prototypes it looks like, and which pixels make it look like them.

    DIR gets explanation.json, maps.safetensors (the relevance of every pixel), and per prototype three pictures: the
    map over your picture, the prototype's training image, and the map over that.

    Example: python -m kmex_core explain --model digits --image seven.png --out explained
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import export as report
        from kmex_core.base.outputs import check_folder
        from kmex_core.data.pictures import read_picture

        picture = read_picture(image)
        check_folder(out, report.FILES, overwrite)
        subject = opened(model, data_root, skip_broken, device, bar)
        info, data = subject.info, subject.data
        source = BuiltIn() if own else KMeans(k, seed)
        made = subject.read(subject.conversion(source))
        module = subject.explainer(source)
        found = module.explain(network_input(info, picture.pixels), top=top, method=method)
        answer = report.explanation(found, made.prototypes, info) | {
            "model": model,
            "k": source.per_class(info.k),
            "own": own,
            "seed": seed,
            "image": str(image),
            "out": str(out),
        }
        few = "" if own else fewer_prototypes(made.prototypes, info.class_names, k)
        answer |= about(subject, *picture.notes, few)
        report.write(out, answer, found, made.prototypes, module, info, data, picture.pixels)
        return answer

    def show(answer: dict[str, Any]) -> None:
        said = f"{answer['kmex']['class']} ({answer['kmex']['probability']:.1%})."
        if answer["own"]:
            print(f"'{answer['model']}' says {said}")
        else:
            print(
                f"The black box says {answer['black_box']['class']} ({answer['black_box']['probability']:.1%}), "
                f"KMEx says {said}"
            )
        if answer["unusual"]:
            print("Unusual: the picture is farther from every prototype than 99 % of the training images are.")
        for one in answer["prototypes"]:
            ratio = "nothing to compare with" if one["conservation"] is None else f"{one['conservation']:.2f}"
            kept = "" if one["conserves"] else f"; the map does not conserve relevance ({ratio})"
            print(
                f"  looks like prototype {one['id']} of {one['class']}: similarity {one['similarity']:.3f}, training "
                f"image {one['training_image']}{kept}"
            )
        print(f"Maps ({answer['method']}) are in {answer['out']}.")

    answer_with(as_json, work, show)


@app.command()
def sweep(
    model: ModelName,
    k: Annotated[str, typer.Option("--k", metavar="FIRST:LAST", help="Prototypes per class, from … to.")] = "1:20",
    first: First = 0,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Convert a model for every number of prototypes per class, to choose one with evidence.

    Example: python -m kmex_core sweep --model digits --k 1:20
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.stages.sweep import sweep

        ks = number_range(k)
        subject = opened(model, data_root, skip_broken, device, bar)
        order = sorted(ks, key=lambda value: (value != first, value))
        found = sweep(subject, order, seed)
        return {
            "model": model,
            "seed": seed,
            "rows": [{"k": value, **dataclasses.asdict(summary)} for value, summary in found.items()],
        } | about(subject, _smallest(subject, max(found)))

    def show(answer: dict[str, Any]) -> None:
        black_box = answer["rows"][0]["accuracy_black_box"]
        print(f"'{answer['model']}', black box {black_box:.2%} of {answer['rows'][0]['images']:,} test images")
        print("  k  accuracy ↑  agreement ↑  ghosts ↓  diversity ↓  effective per class ↑")
        for row in answer["rows"]:
            diversity = "-" if row["diversity"] is None else f"{row['diversity']:.4f}"
            print(
                f"{row['k']:3}  {row['accuracy_kmex']:10.2%}  {row['agreement']:11.2%}  {row['ghosting']:8.2%}  "
                f"{diversity:>11}  {row['effective']:.2f}"
            )

    answer_with(as_json, work, show)


def _smallest(subject: Subject, k: int) -> str:
    """A sentence when classes have fewer training images than `k`, which limits their prototypes."""
    info = subject.info
    sizes = np.bincount(subject.data.split("train").labels, minlength=len(info.class_names))
    name, size = info.class_names[int(sizes.argmin())], int(sizes.min())
    if size >= k:
        return ""
    return f"A class has at most as many prototypes as training images; the smallest, '{name}', has {size:,}."


@app.command()
def project(
    model: ModelName,
    sample: Annotated[
        int, typer.Option(min=5, help="How many training images UMAP is fitted on; the others are placed among them.")
    ] = 10_000,
    seed: Seed = 0,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Draw the map of a model's embedding (UMAP) for the page Embedding. Takes from seconds to a minute.

    Example: python -m kmex_core project --model digits
    """

    def work(bar: Bar) -> dict[str, Any]:
        subject = opened(model, data_root, skip_broken, device, bar)
        made = subject.embedding_map(sample, seed).get()
        return {
            "model": model,
            "sample": len(made.sample),
            "train_images": len(made.train),
            "test_images": len(made.test),
            "trustworthiness": made.trustworthiness,
            "placed_trustworthiness": made.placed_trustworthiness,
            "seconds": round(made.seconds, 3),
        } | about(subject)

    def show(answer: dict[str, Any]) -> None:
        print(
            f"The map of '{answer['model']}': UMAP on {answer['sample']:,} training images, {answer['seconds']:.1f} s, "
            f"trustworthiness {answer['trustworthiness']:.3f} (0 to 1, higher is better)."
        )

    answer_with(as_json, work, show)
