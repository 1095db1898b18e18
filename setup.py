"""The one build step that pyproject.toml has no words for: the server's settings go into the wheel.

A clone has them at its root, where `streamlit run app/Home.py` reads them. Streamlit also reads those beside the script
that it runs, so the wheel has the same file there.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSettings(build_py):
    """The modules and their data, and the settings beside `app/Home.py`."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "app", ".streamlit")
            self.mkpath(str(target))
            self.copy_file(".streamlit/config.toml", str(target / "config.toml"))


setup(cmdclass={"build_py": BuildWithSettings})
