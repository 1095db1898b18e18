"""Hooks of `make docs`: pages that are made from the program itself, and those whose source is at the root.

They are made in each build, so they cannot fall behind what they describe.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from kmex_core.commands import app
from kmex_core.data.registry import DATASETS
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models.kinds import BASELINES
from kmex_core.relevance.catalogue import METHODS

ROOT = Path(__file__).resolve().parent.parent
AT_ROOT = {  # files outside docs/, and the pages that show them
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "licence.md",
    "data_cache/README.md": "reference/store.md",
}
LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]+)?\)")
SHARED = re.compile(r"^( +)(\w+(?:, \w+)+)(:.*(?:\n\1 +\S.*)*)", re.MULTILINE)
TITLE = re.compile(r"^# (\d+)\. (.+)\n\nDate: (\S+)\. Status: (.+)\.\n")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file in `docs/`."""
    made = {
        "decisions/index.md": decisions(),
        "reference/command-line.md": command_line(),
        "reference/registries.md": registries(),
    }
    made |= {page: (ROOT / source).read_text() for source, page in AT_ROOT.items()}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    for file in files.documentation_pages():
        if file.src_uri == AT_ROOT["LICENSE"] or re.match(r"decisions/\d", file.src_uri):
            file.inclusion = InclusionLevel.NOT_IN_NAV
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site's pages: in the repository they name its files.

    A link to a file that the site does not have becomes plain text; one to a file that is not there stays, and fails
    the build.
    """
    here = page.file.src_uri
    source = next((name for name, target in AT_ROOT.items() if target == here), f"docs/{here}")

    def moved(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = AT_ROOT.get(path, path.removeprefix("docs/"))
        for name in (inside, f"{inside}/index.md"):
            if files.get_file_from_path(name):
                return f"[{text}]({posixpath.relpath(name, posixpath.dirname(here) or '.')}{anchor})"
        return text if (ROOT / path).exists() else match[0]

    return LINK.sub(moved, markdown)


def decisions() -> str:
    """The decision records as a table."""
    rows = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = TITLE.match(path.read_text())
        if title is None:
            raise ValueError(f"{path} does not begin as a decision record does.")
        rows.append([title[1], f"[{title[2]}]({path.name})", title[3], title[4]])
    return "\n\n".join(
        [
            "# Decisions",
            "Why the product is built as it is: one record per decision. A decision that changes keeps its record, "
            "which then names the one that replaces it.",
            table(("No.", "Decision", "Date", "Status"), rows),
        ]
    )


def command_line() -> str:
    """The help of every command."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="kmex")
    with context:
        text = get_docs_for_click(obj=command, ctx=context, name="kmex", title="Command line")
    return text.replace("python -m kmex_core", "kmex")


def registries() -> str:
    """What is registered, by kind."""
    metrics = [
        [f"`{metric.name}`", metric.heading, "per cent" if metric.unit == "share" else metric.unit, metric.about]
        for metric in METRICS.values()
    ]
    baselines = [
        [
            f"`{kind.name}`",
            kind.title,
            kind.about,
            ", ".join(f"`{key}={value:g}`" for key, value in kind.defaults.items()),
        ]
        for kind in BASELINES.values()
    ]
    return "\n\n".join(
        [
            "# Registries",
            "Names that the command line and JSON use, and what they stand for.",
            "## Metrics",
            "Arrows point to the better side.",
            table(("Name", "Metric", "Unit", "Meaning"), metrics),
            "## Relevance methods",
            "`auto` is the first that can explain the network.",
            table(("Name", "Method", "How"), [[f"`{one.name}`", one.title, one.about] for one in METHODS.values()]),
            "## Data sets",
            table(
                ("Name", "Data set", "Content"), [[f"`{one.name}`", one.title, one.about] for one in DATASETS.values()]
            ),
            "## Baselines",
            table(("Name", "Model", "Prototypes", "Options"), baselines),
        ]
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class OneEntryPerName(griffe.Extension):
    """Splits docstring entries that describe several arguments at once ("first, second: …"), which griffe does not."""

    def on_object(self, *, obj: griffe.Object, **more: object) -> None:
        """See `griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = SHARED.sub(
                lambda match: "\n".join(match[1] + name + match[3] for name in match[2].split(", ")),
                obj.docstring.value,
            )
