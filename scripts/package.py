"""Lays out what one Lambda layer or function contains, for Lambda's platform or for this machine.

The layers' packages come from uv.lock with their hashes checked. boto3 and what only it needs stay out: the
managed runtime brings them. `sam build` calls this through the Makefiles of the layer and the functions;
`build.py` calls it for the host.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAMBDA_PYTHON = "3.13"
UV = Path(sys.executable).with_name("uv")

PLATFORMS = {
    # Amazon Linux 2023 has glibc 2.34; confluent-kafka's arm64 wheels ask for 2.28.
    "arm64": "aarch64-manylinux_2_28",
    "x86_64": "x86_64-manylinux_2_28",
    "host": None,
}
"""Where the result shall run, to uv's name of it; None is this interpreter on this machine."""

RUNTIME_PROVIDES = ("boto3", "botocore")
"""Packages that the managed runtime has; what only they need goes with them."""

NOT_IMPORTED = ("click",)
"""Dependencies that nothing in Lambda imports: click is the MSK signer's command line."""

EXTRAS = tuple(os.environ.get("HEADRACE_EXTRAS", "").split())
"""Parts of the library that a deployment asks for: `avro`, 13 MB, where a topic carries Avro."""
NOT_IN_ICEBERG = (
    *("confluent-kafka", "aws-msk-iam-sasl-signer-python"),  # the function talks to no broker
    *("rich", "markdown-it-py", "mdurl", "pygments", "requests", "fsspec"),  # of pyiceberg's command line, other stores
)
"""What the Iceberg function never imports, though a package that it has depends on it."""
PYARROW_LEFT_OUT = ("include", "src", "tests", "*.pyx", "*.pxi", "*.pxd", "*flight*")
"""Half a layer of headers and of a server that nothing here starts. (substrait stays: datasets are linked to it.)"""

# A fixed time makes the same input the same archive. After 1980: a zip file knows nothing earlier.
FIXED_MTIME = 1_577_836_800

# Metadata stays for `importlib.metadata.version` and the licences; the rest names this machine or nothing.
INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def locked_requirements(*pruned: str, of: str = "headrace") -> list[str]:
    """A library's locked requirements as requirement lines with hashes, without the pruned packages.

    Raises:
        SystemExit: uv refused; its own message is shown.
    """
    prune = [option for name in pruned for option in ("--prune", name)]
    extras = [option for name in EXTRAS if of == "headrace" for option in ("--extra", name)]
    export = ["export", "--frozen", "--package", of, "--no-emit-workspace", "--no-dev"]
    text = _uv(*export, "--no-annotate", "--no-header", *prune, *extras)
    return text.replace("\\\n", " ").splitlines()


def install(requirements: Sequence[str], platform: str, target: Path) -> None:
    """Install exactly these requirements, wheels only, every hash checked, into the folder."""
    foreign = PLATFORMS[platform]
    where = ["--python-platform", foreign, "--python-version", LAMBDA_PYTHON] if foreign else []
    _uv(
        *("pip", "install", "--python", sys.executable, "--target", str(target)),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirements", "-"),
        # Hard links into uv's cache would let the fixed times below change the cache itself.
        *("--link-mode", "copy"),
        *where,
        stdin="\n".join(requirements),
    )
    _remove_leftovers(target)


def package_layer(platform: str, target: Path) -> None:
    """Fill the folder with the library and everything that it imports."""
    _empty(target)
    install(locked_requirements(*RUNTIME_PROVIDES, *NOT_IMPORTED), platform, target)
    _copy_sources(ROOT / "layers/streaming/headrace", target / "headrace")
    _finish(platform, target)


def package_iceberg_layer(platform: str, target: Path) -> None:
    """Fill the folder with pyiceberg, pyarrow, and both libraries: the Iceberg function has no other layer."""
    _empty(target)
    install(
        locked_requirements(*RUNTIME_PROVIDES, *NOT_IMPORTED, *NOT_IN_ICEBERG, of="headrace-iceberg"), platform, target
    )
    for pattern in PYARROW_LEFT_OUT:
        for path in (target / "pyarrow").glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for library in ("streaming/headrace", "iceberg/headrace_iceberg"):
        _copy_sources(ROOT / "layers" / library, target / Path(library).name)
    _finish(platform, target)


def package_functions(platform: str, target: Path) -> None:
    """Fill the folder with every function's package, the modules they share, and the schemas."""
    shutil.rmtree(target, ignore_errors=True)
    _copy_sources(ROOT / "functions", target)
    _finish(platform, target)


def package_runtime(target: Path) -> None:
    """Fill the folder with what the managed runtime would bring, for this machine.

    With it, an import test can leave out this environment's own packages, which would hide a hole in the layer.
    """
    _empty(target)
    layer = set(locked_requirements(*RUNTIME_PROVIDES, *NOT_IMPORTED))
    # Named by the signer only, so neither the layer's nor the runtime's.
    everything = locked_requirements(*NOT_IMPORTED)
    install([line for line in everything if line not in layer], "host", target)
    _finish("host", target)


def compiler_for(platform: str) -> str | None:
    """An interpreter that writes the platform's bytecode, or None when this machine has none."""
    if platform == "host":
        return sys.executable
    candidate = f"python{LAMBDA_PYTHON}"
    probe = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != {LAMBDA_PYTHON!r})"
    # Run, not looked up: a version manager's shim is on the PATH even when it cannot start anything.
    try:
        ran = subprocess.run([candidate, "-c", probe], capture_output=True, check=False, timeout=30)
    except OSError:
        return None
    return candidate if ran.returncode == 0 else None


def _uv(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [UV, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"uv {' '.join(arguments[:2])} failed:\n{done.stderr.strip()}")
    return done.stdout


def _empty(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)


def _copy_sources(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "tests", "Makefile"))


def _remove_leftovers(target: Path) -> None:
    # Command-line entry points carry this machine's interpreter path, and uv leaves its lock behind.
    shutil.rmtree(target / "bin", ignore_errors=True)
    (target / ".lock").unlink(missing_ok=True)
    for metadata in target.glob("*.dist-info"):
        for name in INSTALLER_FILES:
            (metadata / name).unlink(missing_ok=True)


def _finish(platform: str, target: Path) -> None:
    compiler = compiler_for(platform)
    if compiler:
        # Checked against nothing at import: the fixed times would make every timestamp look stale.
        options = ["-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
        subprocess.run([compiler, "-m", "compileall", *options, target], check=True, timeout=600)
    for path in sorted(target.rglob("*"), reverse=True):
        os.utime(path, (FIXED_MTIME, FIXED_MTIME))


ARTEFACTS = {"layer": package_layer, "iceberg-layer": package_iceberg_layer, "functions": package_functions}


def main() -> None:
    """Package one artefact: `package.py layer|iceberg-layer|functions --platform PLATFORM TARGET`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artefact", choices=list(ARTEFACTS))
    parser.add_argument("--platform", choices=list(PLATFORMS), required=True)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    ARTEFACTS[arguments.artefact](arguments.platform, arguments.target)


if __name__ == "__main__":
    main()
