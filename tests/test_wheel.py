"""The product as others install it: the Dockerfile's steps, from the copied sources to a running dashboard.

There need be no container engine: each step runs here, in a virtual environment that has the packages of this one and
does not have the repository.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest
import websockets
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from kmex_core import __version__
from kmex_core.base import compiled
from tests.helpers.paths import ROOT
from tests.helpers.servers import finished, free_port, wait_until_healthy

SETTINGS = ".streamlit/config.toml"


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what each is given, variables of ARG filled in."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line]
    instructions = [(name, rest.strip()) for name, _, rest in lines]
    arguments = dict(rest.split("=", 1) for name, rest in instructions if name == "ARG")
    return [(name, re.sub(r"\$(\w+)", lambda m: arguments.get(m[1], m[0]), rest)) for name, rest in instructions]


def given_to(instruction: str) -> list[str]:
    return [rest for name, rest in dockerfile() if name == instruction]


def image_environment() -> dict[str, str]:
    """What the image itself (the last stage) sets."""
    return dict(word.split("=", 1) for word in shlex.split(given_to("ENV")[-1]))


@dataclass(frozen=True)
class Installed:
    """The wheel, and where its steps have installed it.

    Attributes:
        wheel: the built file.
        scripts: the folder of the virtual environment's programs.
        home: a folder that stands for the user's home.
    """

    wheel: Path
    scripts: Path
    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        ours = ("KMEX_", "STREAMLIT_", "PYTHON", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        home = {"HOME": str(self.home), "PATH": f"{self.scripts}{os.pathsep}{os.environ['PATH']}"}
        return kept | home | more

    def run(self, *command: str, folder: Path) -> str:
        """What a program of the virtual environment prints; it must end with 0."""
        done = subprocess.run(
            [self.scripts / command[0], *command[1:]],
            cwd=folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The product, installed by the Dockerfile's steps from the files that it copies."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for *names, target in (shlex.split(rest) for rest in given_to("COPY") if not rest.startswith("--from")):
        for name in names:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "secrets.toml")
                shutil.copytree(ROOT / name, source / target, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / target)
    environment = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "these.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    home = place / "home"
    with contextlib.suppress(shutil.Error):  # files that another process removes meanwhile are compiled anew
        # to compile UMAP takes half a minute
        shutil.copytree(compiled.private_folder(), home / ".cache" / "kmex-explorer" / "numba")
    python = environment / "bin" / "python"
    for step in given_to("RUN"):
        if step.startswith(("pip wheel", "pip install --no-deps")):
            _, *words = shlex.split(step)
            files = [str(path) for word in words for path in (source.glob(word) if "*" in word else [word])]
            subprocess.run([sys.executable, "-m", "pip", "--python", python, *files], cwd=source, check=True)
    (wheel,) = (source / "dist").iterdir()
    return Installed(wheel, environment / "bin", home)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of the user's with what must not matter: modules of the same names, and settings of another server."""
    folder = tmp_path / "elsewhere"
    (folder / ".streamlit").mkdir(parents=True)
    (folder / SETTINGS).write_text('[server]\naddress = "0.0.0.0"\nenableXsrfProtection = false\n')
    for name in ("app", "kmex_core", "numpy"):
        (folder / f"{name}.py").write_text("raise SystemExit('This is the module of another project.')")
    return folder


def test_the_wheel_has_every_file_of_both_packages_and_the_clones_settings(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert wheel.read(f"app/{SETTINGS}") == (ROOT / SETTINGS).read_bytes()
        (place,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(place))
        licences = {name.partition("/licenses/")[2] for name in wheel.namelist() if "/licenses/" in name}
    sources = {
        str(path.relative_to(ROOT))
        for package in ("app", "kmex_core")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources | {f"app/{SETTINGS}"}
    assert {"app/py.typed", "kmex_core/py.typed", "kmex_core/demo/digits.safetensors"} <= names
    assert licences == {"LICENSE"}
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"] in (ROOT / "LICENSE").read_text()
    assert not {"Home-page", "Project-URL", "Author-email", "Maintainer-email"} & set(metadata)


def test_the_settings_have_one_definition() -> None:
    assert (ROOT / "app" / ".streamlit").is_symlink()
    assert (ROOT / "app" / SETTINGS).samefile(ROOT / SETTINGS)


def test_the_command_works_from_any_folder_and_calls_itself_kmex(
    installed: Installed, elsewhere: Path, tmp_path: Path
) -> None:
    before = sorted(elsewhere.rglob("*"))
    for command in (("kmex",), ("kmex", "app"), ("kmex", "store", "size")):
        text = installed.run(*command, "--help", folder=elsewhere)
        assert f"Usage: {' '.join(command)} " in text
        assert "python -m" not in text
    assert "Open the dashboard: kmex app" in installed.run("kmex", "demo", folder=elsewhere)
    store = installed.home / ".cache" / "kmex-explorer" / "store"
    assert str(store) in installed.run("kmex", "store", "size", folder=elsewhere)
    assert (store / "projections").is_dir()
    with zipfile.ZipFile(installed.wheel) as wheel:
        (registered,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert b"[kmex.reports]\nhtml = app.report:html_report\n" in wheel.read(registered)
    installed.run("kmex", "export", "--model", "digits", "--html", str(tmp_path / "report.html"), folder=elsewhere)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(elsewhere.rglob("*")) == before


def test_a_job_of_the_installed_dashboard_runs_from_any_folder(installed: Installed, elsewhere: Path) -> None:
    program = (
        "import time; from kmex_core.base import jobs; from kmex_core.base.store import Store\n"
        "jobs.start(Store(), 'listing', ['models'])\n"
        "while (job := jobs.look(Store(), 'listing')).state == 'running': time.sleep(0.1)\n"
        "print(jobs.__file__, job.state, jobs.last_lines(Store(), 'listing'))"
    )
    text = installed.run("python", "-P", "-c", program, folder=elsewhere)
    assert text.startswith(f"{installed.scripts.parent}/lib")
    assert " done digits" in text


def listening_on(port: int) -> set[str]:
    """The addresses at which this machine takes connections at a port, as Linux writes them."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("Only Linux says here who listens where.")
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[1].endswith(f":{port:04X}")}


@contextmanager
def served(command: list[str], port: int, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The address of the dashboard while a command serves it; stopped by SIGTERM, as by a container engine."""
    log = folder.parent / f"log-{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(process, f"http://127.0.0.1:{port}", log)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
    assert not listening_on(port)  # no child goes on
    assert "Traceback" not in log.read_text(), log.read_text()


async def first_gallery(address: str) -> dict[str, object]:
    """What the page Prototypes sends its gallery, asked for as a browser does."""
    async with websockets.connect(
        f"ws://{address}/_stcore/stream", subprotocols=[websockets.Subprotocol("streamlit")], max_size=None
    ) as connection:
        question = BackMsg()
        question.rerun_script.page_name = "prototypes"
        await connection.send(question.SerializeToString())
        gallery: dict[str, object] = {}
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(connection.recv(decode=False), 60))
            element = message.delta.new_element
            match element.WhichOneof("type"):
                case "alert":
                    raise AssertionError(element.alert.body)
                case "exception":
                    raise AssertionError(element.exception.message)
                case "bidi_component" if element.bidi_component.component_name == "kmex_gallery":
                    gallery = gallery or json.loads(element.bidi_component.json)[0]
            if message.WhichOneof("type") == "script_finished":
                return gallery


def test_the_installed_dashboard_shows_its_first_figure_to_this_machine_only(
    installed: Installed, elsewhere: Path
) -> None:
    port = free_port()
    command = [str(installed.scripts / "kmex"), "app", "--port", str(port)]
    with served(command, port, elsewhere, installed.environment()) as address:
        assert listening_on(port) == {"0100007F"}  # 127.0.0.1
        gallery = finished(first_gallery(address))
        groups = gallery["groups"]
        assert isinstance(groups, list)
        card = groups[0]["cards"][0]
        with urllib.request.urlopen(f"http://{address}/{gallery['pictures']}{card['picture']}.png") as answer:
            picture = Image.open(io.BytesIO(answer.read()))
        assert picture.size == (128, 128)  # a face of 64 pixels, twice as large
        assert len(set(picture.convert("L").tobytes())) > 10  # a face, and no blank
        with urllib.request.urlopen(f"http://{address}/assets/gallery.js") as answer:
            assert answer.read() == (ROOT / "app/assets/web/gallery.js").read_bytes()


def test_the_image_is_served_to_the_names_of_this_machine_without_rights_of_root(
    installed: Installed, elsewhere: Path, tmp_path: Path
) -> None:
    port = free_port()
    (start,), (health,) = given_to("CMD"), given_to("HEALTHCHECK")
    command = [word if word != "8501" else str(port) for word in json.loads(start)]
    command[0] = str(installed.scripts / command[0])
    variables = {name: value for name, value in image_environment().items() if name != "PATH"}
    for name in ("KMEX_CACHE", "KMEX_DATA"):
        variables[name] = f"{tmp_path}{variables[name]}"
    with served(command, port, elsewhere, installed.environment(**variables)) as address:
        assert listening_on(port) == {"00000000"}
        check = json.loads(health.partition("CMD ")[2].replace("8501", str(port)))
        assert subprocess.run([installed.scripts / check[0], *check[1:]], check=False).returncode == 0
        foreign = urllib.request.Request(f"http://{address}/", headers={"Host": f"evil.example:{port}"})
        with pytest.raises(HTTPError, match="400"):
            urllib.request.urlopen(foreign)
    ended = subprocess.run([installed.scripts / check[0], *check[1:]], check=False, stderr=subprocess.DEVNULL)
    assert ended.returncode == 1  # the health check notices
    last = [name for name, _ in dockerfile() if name in ("RUN", "USER", "CMD")][-2:]
    assert last == ["USER", "CMD"]
    assert given_to("USER") == ["kmex"]
    assert given_to("VOLUME") == [image_environment()["KMEX_CACHE"]]
    assert given_to("EXPOSE") == ["8501"]


def test_the_image_installs_what_is_locked_and_copies_what_there_is() -> None:
    installs = [step for step in given_to("RUN") if step.startswith("pip install --no-cache-dir")]
    assert [step.rpartition(" ")[2] for step in installs] == ["requirements.lock", "requirements-torch.lock"]
    assert all("--no-deps --only-binary :all:" in step for step in installs)  # as the Makefile does
    assert "--require-hashes" in installs[0]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for *names, _ in (shlex.split(rest) for rest in given_to("COPY") if not rest.startswith("--from")):
        for name in names:
            assert (ROOT / name).exists(), name
            assert {name, f"*{Path(name).suffix}", f"{name}/config.toml"} & kept, f".dockerignore leaves out {name}"
