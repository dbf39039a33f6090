"""Puts the built panel and supervisord's templates into a wheel; all metadata is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

_ROOT = Path(__file__).parent


class BuildWithShippedFiles(build_py):
    """Copies what lies outside of the packages to where ``control_plane.shipped`` looks for it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        panel = _ROOT / "web" / "dist"
        if not (panel / "index.html").is_file():
            raise SetupError("the panel is not built yet; build the wheel with: make wheel")
        target = Path(self.build_lib) / "control_plane" / "_shipped"
        shutil.rmtree(target, ignore_errors=True)
        not_shipped = shutil.ignore_patterns(".*", "*.map")
        shutil.copytree(panel, target / "panel", ignore=not_shipped)
        shutil.copytree(_ROOT / "supervisord.conf.d", target / "supervisord.conf.d")


setup(cmdclass={"build_py": BuildWithShippedFiles})
