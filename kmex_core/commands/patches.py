"""Patch prototypes and concept maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    Metric,
    ModelName,
    Overwrite,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
    open_subject,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO, EUCLIDEAN
from kmex_core.prototypes.source import SUGGESTED, KMeans
from kmex_core.prototypes.types import LAST, SEVERAL, fewer_prototypes

if TYPE_CHECKING:
    from kmex_core.prototypes.types import ConceptMap, PatchPrototypes
    from kmex_core.stages.subject import Subject


@app.command()
def patches(
    model: ModelName,
    k: K = 5,
    blocks: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Feature maps whose positions are the patches: last (the one before global average pooling), or "
            "several (those of the last three stages, resized to the finest and concatenated).",
        ),
    ] = LAST,
    metric: Metric = AUTO,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a PNG image of all patch prototypes, as rectangles in their images."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Image file to draw the concept map of: PNG, JPEG, WebP, AVIF, HEIC, …"),
    ] = None,
    concept_map: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the concept map of --image as a PNG image."),
    ] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Find patch prototypes, classify images by their patches (paper, A.4), and draw concept maps.

    Patches are the positions of feature maps: 7×7 for the last block of a ResNet at 224×224 pixels, 28×28 for several.
    An image's class is the one with the highest similarity, averaged over the patches, to the nearest prototype of
    each class; or the class that most patches vote for. A concept map shows the nearest prototype of each patch, and
    the similarity of each patch to the predicted class's nearest one (Boubekki & Clemmensen, 2026).

    Example: python -m kmex_core patches --model faces --blocks several --image face.png --concept-map map.png
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import metrics
        from kmex_core.analysis import export as exports
        from kmex_core.analysis.concept_picture import concept_picture
        from kmex_core.base.errors import InputError
        from kmex_core.base.files import write_bytes
        from kmex_core.base.outputs import check_file
        from kmex_core.data.pictures import read_picture
        from kmex_core.data.seen import seen_picture
        from kmex_core.models.catalogue import network_input

        if (image is None) != (concept_map is None):
            raise InputError("A concept map needs both --image FILE and --concept-map FILE.")
        if blocks == SEVERAL and metric not in (AUTO, EUCLIDEAN):
            raise InputError(
                f"The metric '{metric}' is of the embedding; patches of several blocks are compared by Euclidean "
                "distances. Leave out --metric, or use --blocks last."
            )
        for path, option in ((out, "--out"), (concept_map, "--concept-map")):
            if path is not None:
                check_file(path, overwrite, option)
        picture = None if image is None else read_picture(image)
        subject = open_subject(model, data_root, skip_broken, device, bar)
        if k == SUGGESTED:
            raise InputError("No number of patch prototypes is suggested: what is suggested is for whole images.")
        info, source = subject.info, KMeans(k, seed, metric)
        artifact = subject.patches(source, blocks)
        patches, kmex = artifact.get(), subject.read(subject.conversion(source)).summary
        if out is not None:
            write_bytes(out, exports.patch_sheet(patches.prototypes, info, subject.data))
        answer: dict[str, Any] = {
            "model": model,
            "k": k,
            "seed": seed,
            "blocks": blocks,
            "metric": patches.metric.name,
            "grid": patches.prototypes.grid.tolist(),
            "channels": patches.prototypes.channels.tolist(),
            "accuracy_black_box": patches.accuracy_black_box,
            "accuracy_kmex": kmex.accuracy_kmex,
            "accuracy_similarity": patches.accuracy_similarity,
            "accuracy_vote": patches.accuracy_vote,
            "accuracy_chance": metrics.chance_accuracy(subject.data.split("test").labels, len(info.class_names)),
            "agreement_kmex": kmex.agreement,
            "agreement_similarity": patches.agreement_similarity,
            "agreement_vote": patches.agreement_vote,
            "ghosting": float(patches.prototypes.ghost.mean()),
            "seconds": round(patches.seconds, 3),
            "out": str(out) if out else None,
            "concept_map": None,
        }
        notes = [fewer_prototypes(patches.prototypes, info.class_names, k)]
        if picture is not None and concept_map is not None:
            drawn = artifact.module(patches).concept_map(network_input(info, picture.pixels))
            write_bytes(
                concept_map, concept_picture(seen_picture(picture.pixels, info.preprocessing), drawn, info.class_names)
            )
            answer["concept_map"] = {"image": str(image), "out": str(concept_map)} | _described(
                drawn, patches.prototypes, info.class_names
            )
            notes += picture.notes
        return answer | about(subject, *notes)

    def show(answer: dict[str, Any]) -> None:
        rows, columns = answer["grid"]
        channels = " + ".join(map(str, answer["channels"]))
        encoder = answer["accuracy_black_box"] is None
        print(
            f"'{answer['model']}', {rows}×{columns} patches of {channels} channels, {answer['k']} prototypes per class "
            "(higher is better, except for ghosts):\n"
            f"                             accuracy{'' if encoder else '   agreement with the black box'}"
        )
        for title, name in (
            ("black box", "black_box"),
            ("KMEx", "kmex"),
            ("patches, mean similarity", "similarity"),
            ("patches, majority vote", "vote"),
            ("chance", "chance"),
        ):
            if encoder and name == "black_box":
                continue
            agreement = answer.get(f"agreement_{name}")
            shown = "" if agreement is None else f"   {agreement:8.2%}"
            print(f"  {title:<27}{answer[f'accuracy_{name}']:8.2%}{shown}")
        print(f"  {'ghost prototypes':<27}{answer['ghosting']:8.2%}")
        if answer["out"]:
            print(f"Wrote the prototypes to {answer['out']}.")
        if drawn := answer["concept_map"]:
            print(
                f"The patches say {drawn['similarity']} by mean similarity, {drawn['vote']} by majority vote. Wrote "
                f"the concept map to {drawn['out']}."
            )

    answer_with(as_json, work, show)


def _described(drawn: ConceptMap, prototypes: PatchPrototypes, class_names: tuple[str, ...]) -> dict[str, Any]:
    """A concept map as JSON-like values; shares are fractions of its positions, `attribution` has its rows."""
    return {
        "similarity": class_names[drawn.predicted],
        "vote": class_names[drawn.voted],
        "scores": dict(zip(class_names, drawn.scores.tolist(), strict=True)),
        "votes": dict(zip(class_names, drawn.votes.tolist(), strict=True)),
        "prototypes": [
            {"id": p, "class": class_names[prototypes.classes[p]], "share": share} for p, share in drawn.shares.items()
        ],
        "nearest": drawn.nearest.tolist(),
        "attribution": drawn.attribution.tolist(),
    }


def patches_job(subject: Subject, source: KMeans, blocks: str = LAST) -> JobRequest:
    """Find a model's patch prototypes."""
    name = f"patches-{subject.patches(source, blocks).key}"
    metric = source.metric if blocks == LAST else ""  # positions of several blocks have none
    return job_of(name, patches, model=subject.info.name, k=source.k, blocks=blocks, metric=metric, seed=source.seed)
