"""The recipe of the layers: what is trimmed, and that equal contents are equal bytes."""

from __future__ import annotations

import importlib.util
import ssl
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.infra.template import ROOT


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layers_build", ROOT / "layers" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n", "utf-8")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_trimming_keeps_what_an_import_or_a_reader_of_versions_needs(
    build: ModuleType, tmp_path: Path
) -> None:
    kept = {"a/__init__.py", "a/_testing/x.py", "a-1.dist-info/METADATA", "a-1.dist-info/licenses/LICENSE"}
    write(tmp_path, *kept, "a/tests/test_x.py", "a/x.pyi", "a/include/a.h", "bin/a", "a-1.dist-info/RECORD")
    build.trim(tmp_path, ())
    assert names(tmp_path) == kept
    assert not (tmp_path / "a" / "tests").exists()


def test_trimming_drops_the_prefixes_of_a_layer(build: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "a/server.py", "a/client.py")
    build.trim(tmp_path, ("a/ser",))
    assert names(tmp_path) == {"a/client.py"}


def test_equal_contents_are_equal_bytes(build: ModuleType, tmp_path: Path) -> None:
    for copy in ("one", "two"):
        write(tmp_path / copy, "b.py", "a.py")
        build.write_zip(tmp_path / f"{copy}.zip", tmp_path / copy, "key")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == ["a.py", "b.py"]


def test_an_archive_is_built_again_when_a_source_changed(build: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.py")
    archive = tmp_path / "out.zip"
    assert not build.is_built(archive, "first")
    build.write_zip(archive, tmp_path / "in", "first")
    assert build.is_built(archive, "first")
    assert not build.is_built(archive, "second")


def test_byte_code_is_not_tied_to_time_stamps(build: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    build.compile_folder(tmp_path)
    code = tmp_path / "__pycache__" / f"a.{sys.implementation.cache_tag}.pyc"
    assert int.from_bytes(code.read_bytes()[4:8], "little") == 0b01  # hash-based, unchecked: PEP 552
    assert b"/opt/python/a.py" in code.read_bytes()
    assert str(tmp_path).encode() not in code.read_bytes()


def test_predict_carries_the_roots_of_amazons_servers(build: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_text(build.roots(), "ascii")
    found = ssl.create_default_context(cafile=file).get_ca_certs()
    assert [dict(part[0] for part in one["subject"])["commonName"] for one in found] == list(build.ROOTS)


def test_rooms_that_never_run_on_lambda_stay_out_of_the_core_layer(build: ModuleType) -> None:
    rooms = {path.relative_to(build.PACKAGE).parts[0] for path in build.package_files()}
    assert {"aws", "edge", "runs", "contracts.py"} <= rooms
    assert not rooms & {"local", "cli"}
