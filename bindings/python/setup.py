"""Builds libwtcache with cargo and puts it into the package. What else there is to say stands in pyproject.toml."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

WORKSPACE = Path(__file__).resolve().parent.parent.parent


def build_library() -> Path:
    """The shared library, built in release, or the one that WTCACHE_LIBRARY names."""
    ready = os.environ.get("WTCACHE_LIBRARY")
    if ready:
        return Path(ready)
    if platform.system() != "Linux":
        raise SystemExit("wtcache: libwtcache is built on Linux only")
    if not (WORKSPACE / "ffi" / "artifact" / "Cargo.toml").exists():
        raise SystemExit("wtcache: install from a checkout of the repository, where the library's source is")
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SystemExit("wtcache: cargo is needed to build libwtcache; see https://rustup.rs")
    target = Path(os.environ.get("CARGO_TARGET_DIR", WORKSPACE / "target"))
    command = [cargo, "build", "--release", "--package", "libwtcache", "--target-dir", str(target)]
    subprocess.run(command, cwd=WORKSPACE, check=True)
    return target / "release" / "libwtcache.so"


class WithLibrary(build_py):
    """Puts the library beside the modules."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copyfile(build_library(), Path(self.build_lib) / "wtcache" / "libwtcache.so")


class AnyPython(bdist_wheel):
    """The wheel is for one platform and every Python 3: the library knows nothing of the interpreter."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class OfOnePlatform(Distribution):
    """Has files that are built, so that it is installed with those of its platform."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": WithLibrary, "bdist_wheel": AnyPython}, distclass=OfOnePlatform)
