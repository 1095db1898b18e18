"""The tables that pages offer, as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.base.plain_text import table_csv
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    MethodOrDefault,
    Metric,
    Overwrite,
    Own,
    SavedVersion,
    Seed,
    SkipBroken,
    Target,
    answer_with,
    app,
    number_range,
)
from kmex_core.prototypes.metric import AUTO
from kmex_core.relevance.catalogue import DEFAULT_TARGET

OPTIONS = {  # what they set in `TableRequest`
    "--model": "models",
    "--k": "ks",
    "--metric": "metric",
    "--own": "built_in",
    "--version": "version",
    "--seed": "seed",
    "--runs": "runs",
    "--images": "images",
    "--target": "target",
    "--method": "method",
    "--image": "image",
    "--no-published": "published",
}


@app.command("table")
def write_table(
    name: Annotated[str, typer.Argument(metavar="[TABLE]", help="Name of the table; none lists all.")] = "",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="A model in the store. Repeat it for 'comparison' and 'radar'."),
    ] = None,
    k: Annotated[
        str,
        typer.Option(
            "--k",
            metavar="N|FIRST:LAST",
            help="Prototypes per class. Default: 5; a range: 1:20.",
        ),
    ] = "",
    metric: Metric = AUTO,
    own: Own = False,
    version: SavedVersion = "",
    runs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Number of runs. Default: 1, or 3 for 'attribute-curves'.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=0, help="Number of test images for the metrics on relevance maps; 0 leaves them out.")
    ] = 1000,
    target: Target = DEFAULT_TARGET,
    method: MethodOrDefault = "",
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="The image of 'predictions'.")] = None,
    published: Annotated[bool, typer.Option(help="Include the paper's figures in 'comparison'.")] = True,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Output file. Default: stdout.")] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Write a table that the dashboard offers, as CSV to stdout or to --out. Without TABLE, list all tables.

    Missing results are computed first; those on relevance maps take minutes per run. Two tables depend on what is
    stored: 'attributes' has the column first_k for the stored numbers of prototypes, and 'attribute-curves' has the
    stored lines of other models of the data set (see the command `attributes`).

    Example: python -m kmex_core table confusion --model digits --k 5 --out confusion.csv
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.files import write_bytes
        from kmex_core.base.outputs import check_file
        from kmex_core.base.store import Store
        from kmex_core.stages.tables import TABLES, TableRequest

        if not name:
            return {"tables": [{"name": known, "about": table.about} for known, table in TABLES.items()]}
        table = TABLES.named(name)
        request = TableRequest(
            Store(),
            tuple(model or ()),
            tuple(number_range(k)) if k else (),
            own,
            seed,
            metric,
            runs or 0,
            images,
            target,
            method,
            image,
            published,
            data_root,
            skip_broken,
            device,
            bar,
            version,
        )
        for option, attribute in OPTIONS.items():
            changed = getattr(request, attribute) != TableRequest.__dataclass_fields__[attribute].default
            if changed and attribute not in table.options:
                raise InputError(f"The table '{name}' does not take {option}.")
        if "models" in table.options and not model:
            raise InputError(f"The table '{name}' needs --model NAME.")
        if out is not None:
            check_file(out, overwrite)
        content = table.make(request)
        csv = content if isinstance(content, str) else table_csv(content)
        if out is not None:
            write_bytes(out, csv.encode())
        return {"table": name, "out": str(out) if out else None, "csv": csv}

    def show(answer: dict[str, Any]) -> None:
        for table in answer.get("tables", ()):
            print(f"{table['name']:24}  {table['about']}")
        if answer.get("out"):
            print(f"Wrote {answer['out']}.")
        else:
            print(answer.get("csv", ""), end="")

    answer_with(as_json, work, show)
