"""The documentation: it builds, loads nothing from other machines, and names only what there is."""

from __future__ import annotations

import importlib
import math
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

from kmex_core.commands import app
from tests.helpers.paths import ROOT

AT_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "data_cache/README.md")
PAGES = [*sorted(ROOT.joinpath("docs").rglob("*.md")), *(ROOT / name for name in AT_ROOT)]
EXAMPLES = ROOT / "docs" / "how-to" / "examples"
WRITTEN_BY_YOU = (".streamlit/secrets.toml",)
GENERATED = ("decisions/index.md", "reference/command-line.md", "reference/registries.md", "reference/store.md")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ---- the site -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built as `make docs` builds it: a warning fails."""
    folder = tmp_path_factory.mktemp("docs")
    (line,) = re.findall(r"^docs:.*\n\t(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = [word for word in shlex.split(line) if "=" not in word]
    assert words[0] == "$(BIN)/python"
    assert "--strict" in words
    built = subprocess.run(
        [sys.executable, *words[1:], "--site-dir", folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


class Loaded(HTMLParser):
    """The addresses that a browser loads by itself when it shows a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if (name in ("src", "srcset", "poster", "data") and tag != "a") or (name == "href" and tag == "link"):
                self.addresses.append(value or "")


def is_elsewhere(address: str) -> bool:
    return re.match(r"(?:[a-z+]+:)?//", address.strip(), re.IGNORECASE) is not None


def test_a_page_that_loads_something_from_elsewhere_is_noticed() -> None:
    page = (
        '<link href="//fonts.example/a.css"><script src="https://cdn.example/a.js"></script><a href="https://b.c">b</a>'
    )
    assert [is_elsewhere(address) for address in Loaded(page).addresses] == [True, True]
    assert not is_elsewhere("assets/a.css")


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages, styles = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 50
    assert styles
    for path in pages:
        addresses = Loaded(path.read_text()).addresses
        assert addresses
        assert not [address for address in addresses if is_elsewhere(address)], path
    for path in [*styles, *pages]:
        loaded = re.findall(r"""@import\s+(?:url\()?["']?([^"')\s;]+)|url\(["']?([^"')]+)""", path.read_text())
        assert not [address for address in map("".join, loaded) if is_elsewhere(address)], path


def test_the_reference_has_every_command_and_every_public_class(site: Path) -> None:
    commands = (site / "reference" / "command-line.html").read_text()
    group = typer.main.get_command(app)
    for name in group.commands:  # type: ignore[attr-defined]
        assert f"kmex {name}" in commands
    python = (site / "reference" / "python.html").read_text()
    for name in (
        "KMEx.from_model",
        "KMEx.convert",
        "KMEx.add_to_store",
        "Subject.conversion",
        "Artifact.peek",
        "Store",
        "Metric.measure",
    ):
        assert re.search(rf'id="kmex_core\.[\w.]*{re.escape(name)}"', python), name


def test_every_decision_is_listed(site: Path) -> None:
    listed = (site / "decisions" / "index.html").read_text()
    records = list((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert records
    assert all(f'href="{path.stem}.html"' in listed for path in records)


# ---- what texts name ------------------------------------------------------------------------------------------------


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def blocks(path: Path, *languages: str) -> list[str]:
    """The blocks of code in some languages, continued lines joined."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
    return [text.replace("\\\n", " ") for language, text in found if language in languages]


def names_code(word: str) -> bool:
    """Whether `a.b` names something of the two packages, from their root or from a room of theirs."""
    return any(resolves(f"{package}.{word}") for package in ("kmex_core", "app")) or resolves(word)


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or what a module has."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            annotated = getattr(value, "__annotations__", {})
            if part in annotated or part in getattr(value, "__dataclass_fields__", {}):
                return True
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def test_names_that_do_not_exist_are_noticed() -> None:
    assert names_code("kmex_core.base.store.Store")
    assert names_code("networks.splitting.split")
    assert not names_code("networks.splitting.splits")
    assert not names_code("kmex_core.pipeline")


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_modules_and_files_that_a_page_names_exist(path: Path) -> None:
    rooms = {entry.name for package in ("kmex_core", "app") for entry in (ROOT / package).iterdir() if entry.is_dir()}
    tops = {entry.name for entry in ROOT.iterdir() if entry.is_dir()}
    for word in re.findall(r"`([^`\n]+)`", prose(path)):
        if re.fullmatch(r"[a-z_]\w*(?:\.\w+)+", word) and word.split(".")[0] in rooms | {"kmex_core", "app"}:
            assert names_code(word), f"{word} does not exist"
        elif "/" in word and word.split("/")[0] in tops - {".venv", "build"} and re.fullmatch(r"[\w./-]+", word):
            added = any((example / word).exists() for example in EXAMPLES.iterdir())
            assert added or (ROOT / word).exists() or word in WRITTEN_BY_YOU, f"{word} does not exist"
        elif match := re.match(r"make ([a-z-]+)", word):
            assert re.search(rf"^{match[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"{word}: no such target"


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_links_lead_somewhere(path: Path) -> None:
    generated = {ROOT / "docs" / name for name in GENERATED}
    for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", prose(path)):
        place = Path(os.path.normpath(path.parent / target))
        assert place.exists() or place in generated, f"{target} does not exist"


def commands(path: Path) -> list[list[str]]:
    """The arguments of each call of `kmex` or `python -m kmex_core` on a page."""
    calls = []
    lines = [line for block in blocks(path, "sh", "console") for line in block.splitlines()]
    lines += [
        word for word in re.findall(r"`([^`]+)`", prose(path)) if word.startswith(("kmex ", "python -m kmex_core "))
    ]
    for line in lines:
        for match in re.finditer(r"(?:python -m kmex_core|(?<![\w./-])kmex) (?!kmex )([a-z][^#;|]*)", line):
            calls.append(shlex.split(match[1].replace("…", "x")))
    return calls


def parse(words: list[str]) -> None:
    """Parse a command's arguments as the command line would, and run nothing."""
    command = typer.main.get_command(app)
    while commands_of := getattr(command, "commands", {}):
        assert words[0] in commands_of, f"There is no command {words[0]}"
        command, words = commands_of[words[0]], words[1:]
    command.make_context(command.name, list(words))


def test_commands_that_do_not_exist_are_noticed() -> None:
    parse(["store", "clean", "--dry-run"])
    with pytest.raises(AssertionError, match="no command evaluates"):
        parse(["evaluates"])
    for words in (["evaluate", "--model", "digits", "--samples", "5"], ["convert", "--model", "digits", "--k", "five"]):
        with pytest.raises(typer.TyperException):
            parse(words)


@pytest.mark.parametrize("path", [path for path in PAGES if commands(path)], ids=ids)
def test_commands_that_a_page_shows_are_understood(path: Path) -> None:
    variables = dict(re.findall(r'^([A-Z]+)="(.*)"$', "\n".join(blocks(path, "sh")), re.MULTILINE))
    for words in commands(path):
        expanded = shlex.split(" ".join(variables.get(word.removeprefix("$"), word) for word in words))
        numbered = ["1" if word in ("$k", "$seed") else word for word in expanded]
        parse([word.replace("$k", "1").replace("$seed", "1") for word in numbered])


# ---- the tutorial ---------------------------------------------------------------------------------------------------


def alike(shown: str, printed: str) -> bool:
    """Whether two lines have the same words, and numbers that differ as little as another processor's might."""
    if NUMBER.split(shown) != NUMBER.split(printed):
        return False
    numbers = [[float(text.replace(",", "")) for text in NUMBER.findall(line)] for line in (shown, printed)]
    return all(math.isclose(*pair, rel_tol=0.1, abs_tol=1) for pair in zip(*numbers, strict=True))


def test_the_tutorial_shows_what_its_commands_print(faces_cache: Path) -> None:
    transcripts = blocks(ROOT / "docs" / "tutorial.md", "console")
    assert len(transcripts) == 3
    for transcript in transcripts:
        command, *shown = transcript.splitlines()
        words = command.removeprefix("$ ").split()
        program = f"import sys; sys.argv = {words!r}; from kmex_core.__main__ import main; main()"
        environment = os.environ | {"KMEX_CACHE": str(faces_cache)}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        printed = done.stdout.splitlines()
        for text in shown:  # in this order; "…" stands for lines that are left out
            if text == "…":
                continue
            place = next((place for place, line in enumerate(printed) if alike(text, line)), None)
            assert place is not None, (command, text, done.stdout)
            printed = printed[place + 1 :]


def test_the_tutorials_finding_is_in_the_data(faces_cache: Path) -> None:
    """Faces with sunglasses: rare, with a prototype at 5 per class, without one at 9, and wrong as often with both."""
    from kmex_core.analysis import coverage
    from kmex_core.analysis.tables.attributes import accuracy_table
    from kmex_core.base.store import Store
    from kmex_core.prototypes.source import KMeans
    from kmex_core.stages.subject import subject_of

    subject = subject_of(Store(faces_cache), "faces")
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "tutorial.md").read_text())
    train, test = subject.data.split("train"), subject.data.split("test")
    column = train.attribute_names.index("Sunglasses")
    assert f"They occur in {train.attributes[:, column].mean():.1%}" in text
    for k, wearing in ((5, 1), (9, 0)):
        conversion = subject.conversion(KMeans(k)).get()
        covered = coverage.coverage(train, conversion.prototypes)
        assert covered.has[:, column].sum() == wearing
        table = accuracy_table(test, conversion, True).set_index("group")
        row = table.loc["Sunglasses"]
        assert row["images"] == 53
        assert f"{row['accuracy']:.1%}" in text
        assert f"{row['accuracy_black_box']:.1%}" in text
        assert row["high"] < 0.83
        worst = table.index[:5]  # the groups that the text shows, at 5 per class
        assert sum("Sunglasses" in group for group in worst) == 4 or k > 5
