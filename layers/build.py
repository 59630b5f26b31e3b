"""Build the layers and ``predict``'s own zip into ``.build/``, each only when something in it changed.

A layer is ``locks/layer-<name>.txt`` installed for Lambda's platform, trimmed by rule, used once by an
interpreter that sees nothing else, compiled, and zipped byte for byte the same each time. The template points
at the zips: ``sam build`` leaves them alone and ``sam deploy`` uploads them as they are. A makefile build
method would have ``sam build`` copy and ``sam deploy`` zip some 350 MB at each deployment.

Byte code is compiled with unchecked hashes: a zip keeps time stamps of two seconds, which makes half of the
time-stamped ``.pyc`` stale. ``science`` carries byte code only for the modules that its use imported, which
keeps ``train`` and ``select`` below Lambda's 250 MB.

Usage: ``build.py [COMMAND …]``; the command, ``sam build``, runs afterwards under the same lock, so that two
builds in one folder wait for each other. ``UV`` names the uv to install with.
"""

from __future__ import annotations

import compileall
import concurrent.futures
import fcntl
import hashlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
PACKAGE = ROOT / "lib" / "millrace"

PLATFORM = "x86_64-manylinux_2_28"
"""The template's ``Architectures``, on Amazon Linux 2023's glibc or older."""
PYTHON = "3.12"

KERNELS = {
    f"{room}/kernel/kernel.so": BUILD / "kernel" / "x86_64-linux-gnu.2.28" / f"{room}.so"
    for room in ("scoring", "csvfile")
}
"""The kernels for that platform, as ``kernel.py`` builds them, by their place in the package."""
PREDICT_KERNEL = "scoring/kernel/kernel.so"
"""The one that ``predict`` carries."""
BUNDLE = Path(sys.prefix) / "lib" / f"python{PYTHON}" / "site-packages" / "botocore" / "cacert.pem"
"""The certificates that botocore brings."""
ROOTS = (
    *(f"Amazon Root CA {number}" for number in range(1, 5)),
    "Starfield Services Root Certificate Authority - G2",
)
"""Those of them that vouch for Amazon's servers; a small trust store should have all five
(https://www.amazontrust.com/repository/)."""
PREDICT_ROOTS = "aws/roots.pem"
"""Where ``predict`` carries them."""

LAYERS = ("core", "columnar", "science", "plotting", "arrays", "onnx")
NOT_IN_CORE = ("local", "cli")
"""Rooms that never run on Lambda."""

TRIM_FOLDERS = frozenset(
    {"__pycache__", "tests", "include", "bin", "share", "sample_data", "cmake", "pkgconfig"}
)
TRIM_SUFFIXES = (".pyi", ".pxd", ".pxi", ".pyx", ".h", ".hpp", ".c", ".cc", ".cpp", ".a", ".lib", ".cmake")
TRIM_FILES = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "top_level.txt", "uv_cache.json", ".lock"}
)
TRIM_PREFIXES = {
    # Arrow's RPC server, its clients of object stores (files reach it as bytes), the sources of its
    # bindings. libarrow_substrait stays: pyarrow.lib links to it.
    "columnar": tuple(
        f"pyarrow/{name}"
        for name in ("src/", "libarrow_flight", "libarrow_python_flight", "_flight", "libarrow_s3", "_s3fs")
    ),
    # What prepares models, and what only that needs: a session reads a model by itself.
    "onnx": (
        *(f"onnxruntime/{name}/" for name in ("tools", "transformers", "quantization", "datasets")),
        *("google/", "protobuf", "flatbuffers", "packaging"),
    ),
}
KEEP = frozenset({"numpy/_core/tests/__init__.py", "numpy/_core/tests/_natype.py"})
"""Files below a trimmed folder that the library itself imports."""
BESIDE = {"onnx": ("numpy", "numpy.libs", "numpy-*.dist-info")}
"""Folders that another layer beside this one carries: there for the use, and gone before the zip."""


def main(*command: str) -> int:
    """Build what is out of date, then run the command; return the exit code."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_all()
        return subprocess.run(command, cwd=ROOT, check=False).returncode if command else 0


def build_all() -> None:
    """Build the layers and ``predict``, as many at once as there are processors."""
    run(sys.executable, ROOT / "layers" / "kernel.py")
    jobs: list[Callable[[], None]] = [lambda name=name: build_layer(name) for name in LAYERS]  # type: ignore[misc]
    jobs.append(build_predict)
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def build_layer(name: str) -> None:
    """Build ``.build/layers/<name>.zip`` unless its key says that it is there."""
    lock = ROOT / "locks" / f"layer-{name}.txt"
    use = ROOT / "layers" / name / "use.py"
    sources = [lock, use, Path(__file__)]
    if name == "core":
        sources += [*sorted(package_files()), *KERNELS.values()]
    archive = BUILD / "layers" / f"{name}.zip"
    if is_built(archive, key_of(sources)):
        return
    print(f"layer: {name}", flush=True)
    folder = BUILD / "work" / name / "python"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    run(
        *(os.environ.get("UV", "uv"), "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--target", folder, "--python-platform", PLATFORM, "--python-version", PYTHON),
        *("--only-binary", ":all:", "-r", lock),
    )
    if name == "core":
        copy_package(folder / "millrace")
    trim(folder, TRIM_PREFIXES.get(name, ()))
    imported = use_in_isolation(folder, use)
    for pattern in BESIDE.get(name, ()):
        for path in folder.glob(pattern):
            shutil.rmtree(path)
    compile_folder(folder, only=imported if name == "science" else None)
    write_zip(archive, folder.parent, key_of(sources))
    shutil.rmtree(folder.parent)


def build_predict() -> None:
    """Build ``.build/functions/predict.zip``: its handler and the few modules that ``rooms.txt`` names."""
    home = ROOT / "functions" / "predict"
    rooms = (home / "rooms.txt").read_text("utf-8").split("\n")
    modules = sorted({PACKAGE / line for line in (r.partition("#")[0].strip() for r in rooms) if line})
    trusted = BUILD / "roots.pem"
    trusted.write_text(roots(), "ascii")
    brought = {PREDICT_KERNEL: KERNELS[PREDICT_KERNEL], PREDICT_ROOTS: trusted}
    sources = [home / "app.py", home / "rooms.txt", Path(__file__), *brought.values(), *modules]
    archive = BUILD / "functions" / "predict.zip"
    if is_built(archive, key_of(sources)):
        return
    print("function: predict", flush=True)
    folder = BUILD / "work" / "predict"
    shutil.rmtree(folder, ignore_errors=True)
    own = [(home / "app.py", folder / "app.py")]
    own += [(source, folder / "millrace" / name) for name, source in brought.items()]
    for source, target in own + [
        (module, folder / "millrace" / module.relative_to(PACKAGE)) for module in modules
    ]:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    use_in_isolation(folder, ROOT / "layers" / "predict_use.py")
    compile_folder(folder, shown_as="/var/task")
    write_zip(archive, folder, key_of(sources))
    shutil.rmtree(folder)


def roots() -> str:
    """Return the certificates of ``ROOTS``."""
    found = {}
    for part in BUNDLE.read_text("utf-8").split("# Label: ")[1:]:
        label, _, rest = part.partition("\n")
        found[label.strip('"')] = rest[rest.index("-----BEGIN") :].partition("\n\n")[0].strip() + "\n"
    return "".join(found[name] for name in ROOTS)


def package_files() -> Iterator[Path]:
    """Yield the files of the package that belong on Lambda."""
    for path in PACKAGE.rglob("*"):
        name = path.relative_to(PACKAGE)
        # A kernel beside its module is this machine's, not Lambda's.
        if (
            path.is_file()
            and "__pycache__" not in name.parts
            and name.parts[0] not in NOT_IN_CORE
            and name.as_posix() not in KERNELS
        ):
            yield path


def copy_package(target: Path) -> None:
    """Copy the package's files below ``target``."""
    sources = {source.relative_to(PACKAGE).as_posix(): source for source in package_files()} | KERNELS
    for name, source in sources.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def key_of(sources: Iterable[Path]) -> str:
    """Return a hash of names and contents; what it covers is what the archive depends on."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {PLATFORM}".encode())
    for path in sources:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        if path.exists():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_built(archive: Path, key: str) -> bool:
    """Tell whether the archive is there and bears the key."""
    note = archive.with_suffix(".key")
    return archive.exists() and note.exists() and note.read_text("utf-8") == key


def trim(folder: Path, prefixes: tuple[str, ...]) -> None:
    """Delete what no import needs; ``METADATA`` and licences stay."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in KEEP and (
            TRIM_FOLDERS.intersection(name.split("/")[:-1])
            or name.endswith(TRIM_SUFFIXES)
            or path.name in TRIM_FILES
            or name.startswith(prefixes)
        ):
            path.unlink()


def use_in_isolation(folder: Path, script: Path) -> set[Path]:
    """Run ``script`` with ``folder`` as the only place to import from; return the modules it imported.

    Lambda's runtime brings boto3: the environment of the local sandboxes stands in for it.
    """
    runtime = ROOT / ".tools" / "runtime" / "lib" / f"python{PYTHON}" / "site-packages"
    program = (
        "import sys, runpy, json; sys.dont_write_bytecode = True\n"
        f"sys.path[:0] = [{str(folder)!r}]; sys.path.append({str(runtime)!r})\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)]))"
    )
    printed = run(base_python(), "-I", "-S", "-c", program, cwd=folder)
    files = {Path(file) for file in json.loads(printed.splitlines()[-1])}
    return {file for file in files if file.suffix == ".py" and file.is_relative_to(folder)}


def compile_folder(folder: Path, only: set[Path] | None = None, shown_as: str = "/opt/python") -> None:
    """Write byte code for every module, or for ``only``; tracebacks show where it lies on Lambda."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if only is None:
        compileall.compile_dir(
            folder, quiet=2, invalidation_mode=mode, stripdir=str(folder), prependdir=shown_as, maxlevels=40
        )
        return
    for path in sorted(only):
        compileall.compile_file(
            path, quiet=2, invalidation_mode=mode, stripdir=str(folder), prependdir=shown_as
        )


def write_zip(archive: Path, folder: Path, key: str) -> None:
    """Zip ``folder`` in a fixed order with fixed times, so that equal contents are equal bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.create_system = 3
                entry.external_attr = (0o100755 if path.suffix == ".so" else 0o100644) << 16
                out.writestr(entry, path.read_bytes())
    part.replace(archive)
    archive.with_suffix(".key").write_text(key, "utf-8")


def base_python() -> str:
    """Return the interpreter that the virtual environment was made from."""
    return str(Path(sys.base_prefix) / "bin" / f"python{PYTHON}")


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; raise with what it said when it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
