"""The command line: `python -m kmex_core`."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from kmex_core.errors import InputError, KMExError
from kmex_core.jobs import Reporter
from kmex_core.results import OWN

app = typer.Typer(
    help="Turn a trained image classifier into one that explains itself by prototypes (KMEx).\n\n"
    "Start with `python -m kmex_core demo`, then open the pages with `streamlit run app/Home.py`. Your own model takes "
    "two steps: `train`, then `convert`. Exit codes: 0 done, 1 failure, 2 wrong usage or input.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout; progress goes to stderr.")]
DataRoot = Annotated[
    str,
    typer.Option("--data-root", metavar="DIR", help="Where data sets lie (else KMEX_DATA, else data/ in the store)."),
]
ClassColumn = Annotated[
    str,
    typer.Option(
        "--class", metavar="COLUMN", help="The attribute, or other column of the data set's table, that is the class."
    ),
]
Device = Annotated[str, typer.Option("--device", help="A torch device: cpu, cuda, … Default: a GPU if there is one.")]
First = Annotated[int, typer.Option("--first", help="The number to start with, when one is waiting for it.")]
ModelName = Annotated[str, typer.Option("--model", metavar="NAME", help="A model in the store; `models` lists them.")]
K = Annotated[int, typer.Option("--k", min=1, help="Prototypes per class.")]
Own = Annotated[
    bool, typer.Option("--own", help="The prototypes that a ProtoPNet, FLINT or ProtoVAE has itself, not KMEx's.")
]
Runs = Annotated[int, typer.Option(min=1, help="How many runs; each has seeds of its own for k-means and images.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed: equal seeds give equal results.")]


class Bar:
    """A progress bar on stderr, one line per stage; in a job (see `kmex_core.jobs`) the page's progress as well."""

    def __init__(self, job: Reporter | None = None) -> None:
        self._job = job
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._job is not None:
            self._job(stage, done, total)
        kind = stage.split()[0]
        if self._bar is None or kind != self._stage:
            self.close()
            self._stage = kind
            self._bar = tqdm(total=total or None, file=sys.stderr, mininterval=0.5, dynamic_ncols=True)
        self._bar.set_description(stage, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Finish the current line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _answer(as_json: bool, work: Callable[[Bar], dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> None:
    """Do the work, show its answer or its error, and exit with the right code."""
    job = Reporter.here()
    if job is not None and not job.begin():
        print("This job runs already, or was stopped before it began.", file=sys.stderr)
        raise typer.Exit(0)
    bar, ended, why = Bar(job), "failed", ""
    try:
        answer = work(bar)
        bar.close()
        ended = "done"
    except KMExError as error:
        bar.close()
        why = str(error)
        if as_json:
            print(json.dumps({"error": str(error)}))
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        bar.close()
        ended = "stopped"
        print("Stopped.", file=sys.stderr)
        raise typer.Exit(1) from None
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise
    finally:
        bar.close()
        if job is not None:
            job.end(ended, why)
    if as_json:
        print(json.dumps(answer, allow_nan=False))
    else:
        show(answer)


@app.command()
def datasets(data_root: DataRoot = "", as_json: Json = False) -> None:
    """List the data sets that are known by name.

    Besides these, `--dataset` takes the path of a folder with Hugging Face style parquet files (`*train*.parquet`,
    `*test*.parquet`, columns `image` and `label`) or with pictures in `train/<class>/` and, if there are any,
    `test/<class>/`. Boolean columns of the parquet files, or of an attributes.csv or attributes.parquet in the folder
    (its column `file_name` names the images), are attributes; `--class` makes any column the class.
    """
    from kmex_core import datasets as registry

    def work(bar: Bar) -> dict[str, Any]:
        return {
            "data_root": str(registry.data_root(data_root)),
            "datasets": [
                {
                    "name": name,
                    "title": entry.title,
                    "about": entry.about,
                    "available": registry.available(name, data_root),
                }
                for name, entry in registry.REGISTRY.items()
            ],
        }

    def show(answer: dict[str, Any]) -> None:
        for entry in answer["datasets"]:
            print(f"{entry['name']:14} {'here' if entry['available'] else '-':5} {entry['about']}")
        print(f"\n'here': its files are under {answer['data_root']}. The others are downloaded when first used.")

    _answer(as_json, work, show)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models in the store, and those that come with the product."""
    from kmex_core import models as kept
    from kmex_core.store import Store

    def work(bar: Bar) -> dict[str, Any]:
        found, broken = kept.list_models(Store())
        return {
            "models": [
                {
                    "name": info.name,
                    "kind": info.kind,
                    "dataset": info.dataset,
                    "backbone": info.backbone,
                    "classes": len(info.class_names),
                    "accuracy": info.accuracy,
                    "image_size": info.image_size,
                    "embedded": info.embedded,
                    "date": info.made_by.get("date"),
                }
                for info in found
            ],
            "unreadable": broken,
        }

    def show(answer: dict[str, Any]) -> None:
        for info in answer["models"]:
            accuracy = "" if info["accuracy"] is None else f"{info['accuracy']:.1%} on test images"
            print(f"{info['name']:20} {info['kind']:10} {info['backbone']:14} {info['dataset']:20} {accuracy}")
        for message in answer["unreadable"]:
            print(f"Warning: {message}", file=sys.stderr)

    _answer(as_json, work, show)


@app.command()
def train(
    dataset: Annotated[str, typer.Option(metavar="NAME|PATH", help="A data set by name (see `datasets`) or by path.")],
    name: Annotated[str, typer.Option(help="What to call the model in the store.")],
    kind: Annotated[str, typer.Argument(help="What to train: blackbox, protopnet, flint or protovae.")] = "blackbox",
    backbone: Annotated[
        str, typer.Option(help="resnet20 (small) or any torchvision classification model.")
    ] = "resnet34",
    data_root: DataRoot = "",
    class_column: ClassColumn = "",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training split. Default: 10 or 30 (paper).")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--lr", help="Learning rate at the start. Default: 0.001 with --imagenet (paper), else 0.05."),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Of SGD. Default: 0.5 with --imagenet (paper), else 0.9.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 penalty. Default: 0 with --imagenet, else 0.0005.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. Default: 128.")] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(help="none or flip-crop. Default: flip-crop for photographs, none for digits and drawings."),
    ] = None,
    image_size: Annotated[int, typer.Option(help="Side of the network's input. Default: the data set's.")] = 0,
    k: Annotated[
        int | None, typer.Option(min=1, help="Prototypes per class of protopnet, flint and protovae. Default: 5.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A loss weight or stage of the kind, as often as needed."),
    ] = None,
    imagenet: Annotated[bool, typer.Option("--imagenet", help="Start from ImageNet weights (downloaded).")] = False,
    seed: Seed = 0,
    device: Device = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run NAME.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model NAME when the new one is trained.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier, to be converted afterwards: a black box, or ProtoPNet, FLINT or ProtoVAE.

    A black box by SGD with momentum, the others by Adam, with a cosine schedule (paper, A.2 and Table 10). `--set`
    changes what a prototypical model has of its own; an unknown NAME lists them. A checkpoint is written after every
    epoch: when a run is stopped, give the same command with --resume, and it goes on exactly where it was.

    Example: python -m kmex_core train --dataset mnist --backbone resnet18 --epochs 1 --name mnist18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import pipeline
        from kmex_core.specs import DatasetSpec
        from kmex_core.store import Store
        from kmex_core.training import default_recipe

        spec = DatasetSpec(dataset, data_root, image_size, class_column)
        recipe = default_recipe(
            pipeline.dataset(spec),
            imagenet,
            kind,
            k=k,
            options=_numbers(options or []) or None,
            epochs=epochs,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            augmentation=augmentation,
            seed=seed,
        )
        request = pipeline.TrainRequest(
            name,
            spec,
            backbone,
            recipe,
            pipeline.checked_device(device),
            shlex.join(["python", "-m", "kmex_core", *sys.argv[1:]]),
        )
        info = pipeline.train(Store(), request, resume, overwrite, bar)
        return {
            "model": info.name,
            "kind": info.kind,
            "dataset": info.dataset,
            "backbone": info.backbone,
            "epochs": recipe.epochs,
            "seed": seed,
            "accuracy": info.accuracy,
            "train_accuracy": info.made_by["history"][-1]["accuracy"],
            "seconds": info.made_by["seconds"],
        }

    def show(answer: dict[str, Any]) -> None:
        print(
            f"Trained '{answer['model']}' ({answer['backbone']} on {answer['dataset']}) in "
            f"{answer['seconds']:.0f} s: {answer['accuracy']:.2%} of the test images are right.\n"
            f"Next: python -m kmex_core convert --model {answer['model']}"
        )

    _answer(as_json, work, show)


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Option(metavar="FILE", help="A safetensors file, or a saved state dict (.pt).")],
    name: Annotated[str, typer.Option(help="What to call the model in the store.")],
    kind: Annotated[str, typer.Argument(help="What it is: blackbox, protopnet, flint or protovae.")] = "blackbox",
    dataset: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="What it was trained on. Its classes are the network's outputs.")
    ] = "",
    backbone: Annotated[
        str, typer.Option(help="resnet20 (small) or any torchvision classification model.")
    ] = "resnet34",
    data_root: DataRoot = "",
    class_column: ClassColumn = "",
    image_size: Annotated[int, typer.Option(help="Side of the network's input. Default: the data set's.")] = 0,
    mean: Annotated[
        str, typer.Option(metavar="R,G,B", help="What its input was normalised with. Default: the training split's.")
    ] = "",
    std: Annotated[str, typer.Option(metavar="R,G,B", help="As --mean: the standard deviations.")] = "",
    k: Annotated[int, typer.Option(min=1, help="Prototypes per class of protopnet, flint and protovae.")] = 5,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="What the kind has of its own; see `train`.")
    ] = None,
    device: Device = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model NAME.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a model that was trained elsewhere into the store, and measure it on the test split.

    Names are matched to the architecture's, without prefixes such as `module.`; what found no place is refused, and
    what was renamed is said. A pickled whole model is refused, because reading one can run any code. A file that
    `export` wrote needs nothing but --checkpoint and --name.

    Example: python -m kmex_core import --checkpoint weights.pt --backbone resnet18 --dataset mnist --name mine
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import pipeline
        from kmex_core.importing import ImportRequest, import_model
        from kmex_core.specs import DatasetSpec
        from kmex_core.store import Store

        request = ImportRequest(
            name,
            kind,
            checkpoint,
            DatasetSpec(dataset, data_root, image_size, class_column),
            backbone,
            k,
            _numbers(options or []),
            _values(mean),
            _values(std),
            shlex.join(["python", "-m", "kmex_core", *sys.argv[1:]]),
        )
        info, report = import_model(Store(), request, overwrite, pipeline.checked_device(device), bar)
        return {
            "model": info.name,
            "kind": info.kind,
            "dataset": info.dataset,
            "backbone": info.backbone,
            "classes": len(info.class_names),
            "accuracy": info.accuracy,
            **report,
        }

    def show(answer: dict[str, Any]) -> None:
        print(
            f"Imported '{answer['model']}' ({answer['backbone']} on {answer['dataset']}): {answer['matched']} tensors "
            f"have a place, {len(answer['renamed'])} of them by another name."
        )
        for here, there in list(answer["renamed"].items())[:5]:
            print(f"  {there} is {here} here")
        if answer["ignored"]:
            print(f"  left out: {', '.join(answer['ignored'])}")
        print(f"{answer['accuracy']:.2%} of the test images are right.")
        if answer["accuracy"] < 2 / answer["classes"]:
            print(
                "That is hardly more than chance: check --mean and --std (what its input was normalised with), "
                "--image-size, and the order of the classes."
            )
        print(f"Next: python -m kmex_core convert --model {answer['model']}")

    _answer(as_json, work, show)


def _values(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"'{text}' are no numbers with commas between them.") from None


@app.command()
def export(
    model: ModelName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where it goes: a safetensors file.")],
    as_json: Json = False,
) -> None:
    """Write a model to a file: its weights by name, and what it is, which `import` reads.

    Example: python -m kmex_core export --model digits --out digits.safetensors
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core.store import Store, write_bytes

        content = kept.path_of(Store(), model).read_bytes()
        write_bytes(out, content)
        return {"model": model, "out": str(out), "bytes": len(content)}

    _answer(as_json, work, lambda answer: print(f"Wrote {answer['out']} ({answer['bytes'] / 2**20:.1f} MiB)."))


@app.command()
def rename(model: ModelName, to: Annotated[str, typer.Option(help="Its new name.")], as_json: Json = False) -> None:
    """Give a model another name.

    Example: python -m kmex_core rename --model mnist18 --to mnist-resnet18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core.store import Store

        kept.rename(Store(), model, to)
        return {"model": to, "before": model}

    _answer(as_json, work, lambda answer: print(f"'{answer['before']}' is '{answer['model']}' now."))


@app.command()
def delete(
    model: ModelName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a model from the store. It asks first.

    Example: python -m kmex_core delete --model mnist18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core.store import Store

        store = Store()
        kept.describe(store, model)
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Delete '{model}' for good?", err=True)):
            raise InputError(f"'{model}' was not deleted. Give --yes to delete it without being asked.")
        kept.delete(store, model)
        return {"deleted": model}

    _answer(as_json, work, lambda answer: print(f"Deleted '{answer['deleted']}'."))


def _numbers(pairs: list[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"'{pair}' is no NAME=VALUE with a number.") from None
    return found


@app.command()
def convert(
    model: ModelName,
    k: K = 5,
    seed: Seed = 0,
    data_root: DataRoot = "",
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
        from kmex_core import models as kept
        from kmex_core import pipeline
        from kmex_core.store import Store

        store = Store()
        started = time.perf_counter()
        info = kept.describe(store, model)
        data = pipeline.dataset_of(info, data_root)
        made = pipeline.convert(store, info, data, k, seed, device, bar, mixed_precision=mixed_precision)
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
        }

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

    _answer(as_json, work, show)


@app.command()
def patches(
    model: ModelName,
    k: K = 5,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A PNG of all patch prototypes, as rectangles in their images.")
    ] = None,
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Find prototypes of patches, and let each image's patches vote (paper, A.4).

    Patches are the places of the last map before global average pooling: 49 for a ResNet at 224×224 pixels.

    Example: python -m kmex_core patches --model faces --k 5 --out patches.png
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core import pipeline, report
        from kmex_core.store import Store, write_bytes

        store = Store()
        info = kept.describe(store, model)
        data = pipeline.dataset_of(info, data_root)
        made = pipeline.convert_patches(store, info, data, k, seed, device, bar)
        if out is not None:
            write_bytes(out, report.patch_sheet(made.prototypes, info.class_names, data))
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
        }

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

    _answer(as_json, work, show)


@app.command()
def explain(
    model: ModelName,
    image: Annotated[Path, typer.Option(metavar="FILE", help="A PNG, JPEG, WebP, BMP or TIFF picture.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the maps go; made if it is not there.")],
    k: K = 5,
    own: Own = False,
    seed: Seed = 0,
    top: Annotated[int, typer.Option(min=1, help="How many of the nearest prototypes get a map.")] = 3,
    method: Annotated[
        str, typer.Option(help="auto, prp (ResNet and VGG) or integrated_gradients (any network).")
    ] = "auto",
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Explain one picture: predictions, the prototypes it looks like, and which pixels make it look like them.

    DIR gets explanation.json, maps.safetensors (the relevance of every pixel), and per prototype three pictures: the
    map over your picture, the prototype's training image, and the map over that.

    Example: python -m kmex_core explain --model digits --image seven.png --out explained
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core import pipeline, report
        from kmex_core.images import read_picture
        from kmex_core.store import Store

        try:
            picture = read_picture(image.read_bytes(), str(image))
        except OSError as error:
            raise InputError(f"{image} cannot be read: {error.strerror or error}.") from error
        store = Store()
        info = kept.describe(store, model)
        data = pipeline.dataset_of(info, data_root)
        per_class = OWN if own else k
        made = pipeline.convert(store, info, data, per_class, seed, device, bar)
        black_box = kept.load(store, model, pipeline.checked_device(device))
        module = pipeline.kmex(black_box, made, pipeline.conversion_spec(store, info, data, per_class, seed))
        found = module.explain(pipeline.network_input(info, picture.pixels), top=top, method=method)
        answer = report.explanation(found, made.prototypes, info) | {
            "model": model,
            "k": info.k if own else k,
            "own": own,
            "seed": seed,
            "image": str(image),
            "notes": list(picture.notes),
            "out": str(out),
        }
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
        for note in answer["notes"]:
            print(f"Note: {note}")
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

    _answer(as_json, work, show)


@app.command()
def sweep(
    model: ModelName,
    k: Annotated[str, typer.Option("--k", metavar="FIRST:LAST", help="Prototypes per class, from … to.")] = "1:20",
    first: First = 0,
    seed: Seed = 0,
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Convert a model for every number of prototypes per class, to choose one with evidence.

    Example: python -m kmex_core sweep --model digits --k 1:20
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core import pipeline
        from kmex_core.store import Store

        ks = _range(k)
        store = Store()
        info = kept.describe(store, model)
        order = sorted(ks, key=lambda value: (value != first, value))
        found = pipeline.sweep(store, info, pipeline.dataset_of(info, data_root), order, seed, device, bar)
        return {
            "model": model,
            "seed": seed,
            "rows": [{"k": value, **dataclasses.asdict(summary)} for value, summary in found.items()],
            "left_out": [value for value in ks if value not in found],
        }

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
        if answer["left_out"]:
            print(f"Left out, for too few different images in a class: k = {', '.join(map(str, answer['left_out']))}")

    _answer(as_json, work, show)


def _range(text: str) -> list[int]:
    found = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= low <= high <= 1000:
        raise InputError(f"--k {text} is no range: give FIRST:LAST, for instance 1:20.")
    return list(range(low, high + 1))


@app.command()
def attributes(
    model: ModelName,
    k: Annotated[str, typer.Option("--k", metavar="FIRST:LAST", help="Prototypes per class, from … to.")] = "1:20",
    class_column: Annotated[
        str,
        typer.Option(
            "--class", metavar="COLUMN", help="Find prototypes of this column's values instead of the model's classes."
        ),
    ] = "",
    own: Own = False,
    runs: Runs = 1,
    first: First = 0,
    seed: Seed = 0,
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Say which attributes the prototypes cover, and for which images predictions fail (paper 4.3, Figure 5).

    For every number of prototypes per class: how many are ghosts, how many attributes at least one prototype's picture
    has, how far the attributes' correlations among those pictures are from the training images', and what is missed.
    With several runs numbers are means over them, ± their standard deviation, and what is missed is missed in all.
    Then, for 5 per class if it is among them (else the last), which subgroups are represented least, and where
    predictions fail most.

    Example: python -m kmex_core attributes --model faces --k 1:20 --runs 3
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core import pipeline, report
        from kmex_core.store import Store

        store = Store()
        info = kept.describe(store, model)
        data, embedded = pipeline.dataset_of(info, data_root), None
        regrouped = class_column not in ("", info.class_column)
        if own and (regrouped or info.kind == "blackbox"):
            raise InputError("--own takes a ProtoPNet, FLINT or ProtoVAE, and its own classes (no --class).")
        if regrouped:
            info, data, embedded = pipeline.grouped_by(store, info, data, class_column, device, bar)
        ks = [OWN] if own else sorted(_range(k), key=lambda value: (value != first, value))
        seeds = range(seed, seed + (1 if own else runs))
        curves = pipeline.attribute_curves(store, info, data, ks, seeds, device, bar, embedded)
        shown = OWN if own else 5 if 5 in curves.ks else curves.ks[-1]
        made = pipeline.convert(store, info, data, shown, seed, device, bar, embedded)
        return report.attributes(info, data, curves, made, own, seed, not (own or regrouped)) | {
            "left_out": [] if own else [value for value in sorted(ks) if value not in curves.ks]
        }

    def show(answer: dict[str, Any]) -> None:
        several = f", mean ± standard deviation over {len(answer['seeds'])} runs" if len(answer["seeds"]) > 1 else ""
        print(
            f"'{answer['model']}'{' on its own' if answer['own'] else ' + KMEx'}, class {answer['class']}, "
            f"{len(answer['attributes'])} attributes{several}"
        )
        print("  k  prototypes   ghosts ↓    captured ↑  correlation MAE ↓  missed, the rarest first")
        for row in answer["rows"]:

            def said(name: str, digits: int, row: dict[str, Any] = row) -> str:
                spread = f" ± {row[f'{name}_std']:.{digits}f}" if f"{name}_std" in row else ""
                return f"{row[name]:.{digits}f}{spread}"

            places = 1 if several else 0
            missed = ", ".join(row["missed"][:3]) + (
                f" and {len(row['missed']) - 3} more" if len(row["missed"]) > 3 else ""
            )
            print(
                f"{row['k']:3}  {row['prototypes']:10}  {said('ghosted', places):>9}  {said('captured', places):>12}  "
                f"{said('correlation_mae', 4):>17}  {missed or '–'}"
            )
        if answer["left_out"]:
            print(f"Left out, for too few different images in a class: k = {', '.join(map(str, answer['left_out']))}")
        print()
        for sentence in answer["finding"]:
            print(sentence)
        print(f"\nLeast represented with {answer['k']} per class (expected: if drawn from the training images):")
        for one in answer["subgroups"][:5]:
            print(f"  {one['subgroup']}: {one['prototypes']} prototypes, {one['expected']:.1f} expected")
        print("\nWorst predicted test images (95 % Wilson interval):")
        for one in answer["accuracy"][:5]:
            beside = f", black box {one['accuracy_black_box']:.1%}" if "accuracy_black_box" in one else ""
            print(
                f"  {one['group']}: {one['accuracy']:.1%} of {one['images']:,} right ({one['low']:.1%} to "
                f"{one['high']:.1%}){beside}"
            )

    _answer(as_json, work, show)


@app.command()
def project(
    model: ModelName,
    sample: Annotated[
        int, typer.Option(min=5, help="How many training images UMAP is fitted on; the others are placed among them.")
    ] = 10_000,
    seed: Seed = 0,
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Draw the map of a model's embedding (UMAP) for the page Embedding. Takes from seconds to a minute.

    Example: python -m kmex_core project --model digits
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core import pipeline
        from kmex_core.store import Store

        store = Store()
        info = kept.describe(store, model)
        made = pipeline.project(store, info, pipeline.dataset_of(info, data_root), sample, seed, device, bar)
        return {
            "model": model,
            "sample": len(made.sample),
            "train_images": len(made.train),
            "test_images": len(made.test),
            "trustworthiness": made.trustworthiness,
            "placed_trustworthiness": made.placed_trustworthiness,
            "seconds": round(made.seconds, 3),
        }

    def show(answer: dict[str, Any]) -> None:
        print(
            f"The map of '{answer['model']}': UMAP on {answer['sample']:,} training images, {answer['seconds']:.1f} s, "
            f"trustworthiness {answer['trustworthiness']:.3f} (0 to 1, higher is better)."
        )

    _answer(as_json, work, show)


MetricNames = Annotated[
    str, typer.Option(metavar="NAME,…", help="Which metrics, by name. Default: all that there are.")
]
Images = Annotated[int, typer.Option(min=1, help="How many test images the metrics on relevance maps are over.")]


@app.command()
def evaluate(
    model: Annotated[
        list[str],
        typer.Option("--model", metavar="NAME", help="A model in the store. Again for others trained alike."),
    ],
    metrics: MetricNames = "",
    k: K = 5,
    own: Own = False,
    images: Images = 1000,
    runs: Runs = 1,
    seed: Seed = 0,
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Measure a model and its KMEx: predictions, ghosts, diversity, and how faithful and robust the maps are.

    The metrics on maps take minutes per run; what was measured before comes from the store. `--metrics
    accuracy,ghosting` leaves them out.

    Example: python -m kmex_core evaluate --model digits --images 200 --runs 2
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import comparison
        from kmex_core import models as kept
        from kmex_core.store import Store

        given = (images, data_root, device, bar)
        store = Store()
        baseline = kept.describe(store, model[0]).kind != "blackbox"
        ks = [OWN] if own else [OWN, k] if baseline else [k]
        found = _evaluations(store, model, metrics, ks, range(seed, seed + runs), *given)
        return comparison.evaluation_values(found[-1]) | {"text": comparison.as_text(comparison.rows(found))}

    def show(answer: dict[str, Any]) -> None:
        over = f", maps ({answer['method']}) over {answer['images']:,} images" if answer["images"] else ""
        print(
            f"{len(answer['models']) * len(answer['seeds'])} run(s) with {answer['k']} prototypes per class, "
            f"predictions over {answer['test_images']:,} test images{over}. "
            "↑ higher is better, ↓ lower; ± over runs, or over images for one run.\n"
        )
        print(answer["text"])

    _answer(as_json, work, show)


def _evaluations(
    store: Any, names: list[str], asked: str, ks: list[int], seeds: range, images: int, root: str, device: str, bar: Bar
) -> list[Any]:
    from kmex_core import models as kept
    from kmex_core import pipeline, scores
    from kmex_core.metrics.catalogue import METRICS

    infos = [kept.describe(store, name) for name in names]
    wanted = [name.strip() for name in asked.split(",") if name.strip()] or list(METRICS)
    data = pipeline.dataset_of(infos[0], root)
    return [scores.evaluate(store, infos, data, k, list(seeds), images, wanted, device, bar) for k in ks]


@app.command()
def compare(
    models: Annotated[list[str], typer.Option("--models", metavar="NAME [NAME …]", help="Models in the store.")],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    format: Annotated[str, typer.Option(help="text, csv, latex or json.")] = "text",
    metrics: MetricNames = "",
    published: Annotated[bool, typer.Option(help="Add what the paper published for the same data sets.")] = True,
    k: K = 5,
    images: Images = 1000,
    runs: Runs = 1,
    seed: Seed = 0,
    data_root: DataRoot = "",
    device: Device = "",
) -> None:
    """Print models, their KMEx and the paper's figures side by side. Measures what was not measured yet.

    Example: python -m kmex_core compare --models digits faces --images 200 --format latex
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import comparison
        from kmex_core import models as kept
        from kmex_core.store import Store

        if format not in comparison.FORMATS:
            raise InputError(f"There is no format '{format}'; known: {', '.join(comparison.FORMATS)}.")
        names = list(dict.fromkeys([*models, *(more or [])]))
        store, seeds = Store(), range(seed, seed + runs)
        found = []
        for name in names:
            ks = [k] if kept.describe(store, name).kind == "blackbox" else [OWN, k]
            found += _evaluations(store, [name], metrics, ks, seeds, images, data_root, device, bar)
        table = comparison.rows(found, published)
        made = {"text": comparison.as_text, "csv": comparison.as_csv, "latex": comparison.as_latex}
        if format == "json":
            return {"rows": comparison.as_values(table)}
        return {"text": made[format](table)}

    _answer(format == "json", work, lambda answer: print(answer["text"].rstrip("\n")))


@app.command()
def demo(k: K = 5, device: Device = "", as_json: Json = False) -> None:
    """Prepare the first embedded demo: convert and map the digits' network. The faces are prepared when first opened.

    Example: python -m kmex_core demo
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core import models as kept
        from kmex_core import pipeline
        from kmex_core.store import Store

        store = Store()
        info = kept.describe(store, "digits")
        data = pipeline.dataset_of(info)
        summary = pipeline.convert(store, info, data, k, 0, device, bar).summary
        pipeline.project(store, info, data, device=device, progress=bar)
        return {"model": info.name, "k": k, **dataclasses.asdict(summary)}

    def show(answer: dict[str, Any]) -> None:
        print(
            f"'{answer['model']}' with {answer['k']} prototypes per class: KMEx {answer['accuracy_kmex']:.1%}, "
            f"black box {answer['accuracy_black_box']:.1%} of {answer['images']:,} test images.\n"
            "Open the pages: streamlit run app/Home.py"
        )

    _answer(as_json, work, show)


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app()


if __name__ == "__main__":
    main()
