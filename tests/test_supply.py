"""What the product is made of: locked with hashes, complete, and with licences that are named."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from kmex_core import __version__
from tests.helpers.paths import ROOT

LOCKS = ("requirements.lock", "requirements-torch.lock", "requirements-dev.lock", "requirements-bench.lock")
PLATFORMS: list[dict[str, str]] = [
    {name: str(value) for name, value in default_environment().items()}
    | {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.1", **system}
    for minor in (11, 12, 13, 14)
    for system in (
        {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
        {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux"},
        {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
    )
]


def direct(name: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The versions that a list of direct dependencies pins, by canonical name; on a platform, if one is given."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    pins = [Requirement(line) for line in lines]
    if environment is not None:
        pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def locked(name: str) -> list[tuple[Requirement, list[str]]]:
    """What a lock file pins, each with its hashes. Anything that is no such entry fails."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    entries = []
    for line in filter(None, text.splitlines()):
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), line
        entries.append((Requirement(requirement), hashes))
    return entries


def versions(environment: Mapping[str, str], *locks: str) -> dict[str, Version]:
    """What the locks install on a platform: one version of each package, or none."""
    found: dict[str, Version] = {}
    for lock in locks:
        for requirement, _ in locked(lock):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                name = canonicalize_name(requirement.name)
                assert name not in found, f"{name} is locked twice"
                ((operator, version),) = [(one.operator, one.version) for one in requirement.specifier]
                assert operator == "=="
                found[name] = Version(version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_is_locked_has_hashes(lock: str) -> None:
    entries = locked(lock)
    assert entries
    assert all(hashes for _, hashes in entries)
    assert "://" not in (ROOT / lock).read_text()


@pytest.mark.parametrize(
    ("listed", "locks"),
    [("requirements.txt", LOCKS[:2]), ("requirements-dev.txt", LOCKS[:3]), ("requirements-bench.txt", LOCKS)],
)  # fmt: skip
def test_the_locks_pin_what_is_listed_on_every_platform(listed: str, locks: tuple[str, ...]) -> None:
    for environment in PLATFORMS:
        there = versions(environment, *locks)
        pins = direct(listed, environment)
        assert pins
        for name, version in pins.items():
            assert there.get(name) == Version(version), f"{name}: run `make lock`"


def test_pyproject_allows_what_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = direct("requirements.txt")
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_the_locks_are_complete() -> None:
    """They are installed with --no-deps: whatever a locked package requires here must be locked, too."""
    environment = {name: str(value) for name, value in default_environment().items()}
    there = versions(environment, *LOCKS)
    for name, version in there.items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # of a CPU build of PyTorch
        if Version(installed.version).public != version.public:
            continue  # an environment that was installed before the lock was made
        for text in installed.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(environment | {"extra": ""}):
                other = canonicalize_name(requirement.name)
                assert other in there, f"{name} requires {other}: run `make lock`"
                assert requirement.specifier.contains(there[other], prereleases=True), f"{name} requires {text}"


def test_only_pytorch_is_in_its_own_lock() -> None:
    """So that a file of one's own can take its place: nothing else may come and go with it."""
    names = {canonicalize_name(requirement.name) for requirement, _ in locked("requirements-torch.lock")}
    assert {"torch", "torchvision"} <= names
    assert {name for name in names if not name.startswith(("nvidia-", "cuda-"))} <= {"torch", "torchvision", "triton"}
    others = {
        canonicalize_name(requirement.name) for lock in LOCKS if "torch" not in lock for requirement, _ in locked(lock)
    }
    assert not {name for name in others if name.startswith(("nvidia-", "cuda-", "torch", "triton"))}


ALIKE = {  # how packages that have no SPDX expression say it
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "OSI Approved": "",
}


def licence_of(name: str) -> str:
    """What an installed package says its licence is, as SPDX has it; "" when it says nothing short."""
    metadata = distribution(name).metadata

    def field(key: str) -> str:
        return next(iter(metadata.get_all(key) or ()), "")

    if expression := field("License-Expression"):
        return expression
    classifiers = [one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier") or () if "License ::" in one]
    short = [text for text in (field("License"), *classifiers) if text and "\n" not in text]
    return next((named for text in short if (named := ALIKE.get(text, text))), "")


def test_every_direct_dependency_is_listed_with_its_licence() -> None:
    rows = re.findall(r"^\| ([a-z][a-z0-9-]*) \| ([^|]+) \|", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)
    listed = {canonicalize_name(name): licence.strip() for name, licence in rows}
    assert set(listed) == {*direct("requirements.txt"), *direct("requirements-dev.txt")}
    assert listed[canonicalize_name("zennit")] == "LGPL-3.0-or-later"
    unsaid = set()
    for name, licence in listed.items():
        said = licence_of(name)
        assert said in ("", licence), f"{name} says it is under {said}"
        unsaid |= set() if said else {name}
    assert len(unsaid) <= 1, f"looked up by hand: {unsaid}"


def test_only_names_of_registries_are_left_to_the_machine() -> None:
    """A committed address of an index would take the choice of a mirror from whoever installs."""
    for name in [
        *LOCKS,
        *(lock.replace(".lock", ".txt") for lock in (LOCKS[0], *LOCKS[2:])),
        "Makefile",
        "pyproject.toml",
    ]:
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|extra-index|find-links|pypi\.org|pythonhosted", text), name


def test_every_place_that_names_the_version_names_the_same() -> None:
    changes = re.findall(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text()
    assert changes[0][0] == __version__
    assert f"\nversion: {changes[0][0]}\ndate-released: {changes[0][1]}\n" in citation
    assert [Version(version) for version, _ in changes] == sorted((Version(version) for version, _ in changes))[::-1]
