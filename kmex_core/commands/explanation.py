"""Explaining an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    MethodOrDefault,
    Metric,
    ModelName,
    Overwrite,
    Own,
    SavedVersion,
    Seed,
    SkipBroken,
    Target,
    about,
    answer_with,
    app,
    open_subject,
    prototype_note,
    source_of,
)
from kmex_core.models.catalogue import network_input
from kmex_core.prototypes.metric import AUTO as EMBEDDING_AUTO
from kmex_core.prototypes.source import numbered
from kmex_core.relevance.catalogue import CLASS, DEFAULT_TARGET


@app.command()
def explain(
    model: ModelName,
    image: Annotated[Path, typer.Option(metavar="FILE", help="Image file: PNG, JPEG, WebP, AVIF, HEIC, …")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output directory, created if necessary.")],
    k: K = 5,
    metric: Metric = EMBEDDING_AUTO,
    own: Own = False,
    version: SavedVersion = "",
    seed: Seed = 0,
    top: Annotated[int, typer.Option(min=1, help="Number of most similar prototypes to draw relevance maps for.")] = 3,
    target: Target = DEFAULT_TARGET,
    rival: Annotated[
        str,
        typer.Option(
            metavar="RIVAL",
            help="What a margin compares the prototype with: class (the nearest prototype of another class), prototype "
            "(the nearest other one), or the number of a prototype.",
        ),
    ] = CLASS,
    method: MethodOrDefault = "",
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Explain an image: the predictions, the most similar prototypes, and the pixels that make it similar to them.

    Writes explanation.json, maps.safetensors (the relevance of every pixel) and three images per prototype to DIR: the
    relevance map over your image, the prototype's exemplar, and the relevance map over that.

    Example: python -m kmex_core explain --model digits --image seven.png --out explained
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.analysis import export as exports
        from kmex_core.base.outputs import check_folder
        from kmex_core.data.pictures import read_picture

        picture = read_picture(image)
        check_folder(out, exports.FILES, overwrite)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        info, data = subject.info, subject.data
        source = source_of(subject, k, seed, metric, own, version)
        conversion = subject.read(subject.conversion(source))
        module = subject.explainer(source)
        explained = module.explain(
            network_input(info, picture.pixels), top=top, method=method or None, target=target, rival=rival
        )
        answer = exports.explanation(explained, conversion.prototypes, info, data, picture.pixels) | {
            "model": model,
            "k": numbered(source.per_class(info.k)),
            "own": own,
            "version": version,
            "seed": seed,
            "metric": conversion.metric.name,
            "image": str(image),
            "out": str(out),
        }
        answer |= about(subject, *picture.notes, prototype_note(subject, source))
        exports.write(out, answer, explained, conversion.prototypes, module, info, data, picture.pixels)
        return answer

    def show(answer: dict[str, Any]) -> None:
        prediction = f"{answer['kmex']['class']} ({answer['kmex']['probability']:.1%})."
        if answer["own"]:
            print(f"'{answer['model']}' predicts {prediction}")
        elif answer["black_box"] is None:
            print(f"KMEx predicts {prediction}")
        else:
            print(
                f"The black box predicts {answer['black_box']['class']} ({answer['black_box']['probability']:.1%}), "
                f"KMEx predicts {prediction}"
            )
        if answer["kmex"]["likeliest"] != answer["kmex"]["class"]:
            print(
                f"Near tie: the nearest prototype is of {answer['kmex']['class']}, but all prototypes together make "
                f"{answer['kmex']['likeliest']} the likeliest class."
            )
        if answer["unusual"]:
            print("Unusual: this image is farther from every prototype than 99% of the training images are.")
        for prototype in answer["prototypes"]:
            against = "" if prototype["rival"] is None else f", against prototype {prototype['rival']}"
            error = "not finite" if prototype["error"] is None else f"{prototype['error']:.1%}"
            warning = "" if prototype["exact"] else f"; its map's sum is wrong (by {error} of its magnitude)"
            print(
                f"  similar to prototype {prototype['id']} of {prototype['class']}: similarity "
                f"{prototype['similarity']:.3f}, {answer['target']} {prototype['number']:.4g}{against}, training image "
                f"{prototype['training_image']}{warning}"
            )
        print(f"Wrote the relevance maps ({answer['method']} of the {answer['target']}) to {answer['out']}.")

    answer_with(as_json, work, show)
