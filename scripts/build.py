"""Builds the functions and the layer: `build.py arm64 x86_64 host`.

Lambda's platforms are built by `sam build` into `.aws-sam/build-<architecture>`, this machine's twin by the same
recipe into `.aws-sam/build-host` (`functions/`, `layer/python/`, `runtime/python/`). What was built from the same
inputs is left alone. `.aws-sam/build/template.yaml`, where `sam local` looks first, points at the build for this
machine's processor.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import artifacts
import package
from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = package.ROOT
OUTPUT = ROOT / ".aws-sam"
FINGERPRINT = ".fingerprint"
INPUTS = ("uv.lock", "template.yaml", "layers", "functions", "scripts/build.py", "scripts/package.py")
MACHINES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "AMD64": "x86_64"}
MIB = 1024 * 1024


def build(target: str) -> None:
    """Build for one target unless the same inputs were built before; prints which and how long it took.

    Raises:
        SystemExit: the build failed, with what the failing tool said.
    """
    folder = OUTPUT / f"build-{target}"
    fingerprint = _fingerprint(target)
    if _read(folder / FINGERPRINT) == fingerprint:
        print(f"{target}: up to date")
        return
    start = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    build_host(folder) if target == "host" else _build_lambda(target, folder)
    (folder / FINGERPRINT).write_text(fingerprint)
    compiler = package.compiler_for(target)
    bytecode = f"bytecode by {compiler}" if compiler else f"no bytecode: no python{package.LAMBDA_PYTHON} here"
    print(f"{target}: built in {time.monotonic() - start:.1f} s, {bytecode}")


def report(target: str) -> None:
    """Print the unzipped sizes of one build.

    Raises:
        SystemExit: a function and its layer together are over Lambda's limit.
    """
    functions, layers = _parts(target)
    functions_bytes = artifacts.tree_bytes(functions)
    for layer in layers:
        layer_bytes = artifacts.tree_bytes(layer)
        heaviest = ", ".join(f"{w.name} {w.size_bytes / MIB:.1f}" for w in artifacts.heaviest(layer / "python"))
        sizes = f"{layer.name} {layer_bytes / MIB:.1f} MiB ({heaviest}), functions {functions_bytes / MIB:.2f} MiB"
        print(f"{target}: {sizes}")
        if layer_bytes + functions_bytes > artifacts.UNZIPPED_LIMIT_BYTES:
            raise SystemExit(f"{target}: over Lambda's limit of {artifacts.UNZIPPED_LIMIT_BYTES // MIB} MiB unzipped")


def report_imports() -> None:
    """Print the CPU time of a cold import of each built handler.

    Raises:
        SystemExit: a handler cannot be imported from what was built.
    """
    for module in artifacts.handler_modules():
        print(f"import {module}: {artifacts.import_cpu_ms(module):.0f} ms CPU")


def build_host(folder: Path) -> None:
    """Build this machine's twin of what Lambda gets into the folder, whatever is there."""
    package.package_layer("host", folder / "layer" / "python")
    package.package_iceberg_layer("host", folder / "iceberg-layer" / "python")
    package.package_functions("host", folder / "functions")
    package.package_runtime(folder / "runtime" / "python")


def _build_lambda(architecture: str, folder: Path) -> None:
    sam = Path(sys.executable).with_name("sam")
    options = ("build", "--build-in-source", "--build-dir", str(folder))
    # A parent make's job server must not reach the makes that SAM starts.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= {"ARCHITECTURE": architecture, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        [sam, *options, "--parameter-overrides", f"Architecture={architecture}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise SystemExit(f"sam build for {architecture} failed:\n{done.stdout}{done.stderr}".rstrip())
    _pin_architecture(architecture, folder / "template.yaml")


def _pin_architecture(architecture: str, built_template: Path) -> None:
    # A layer built for one processor and deployed for another fails at its first import, in production.
    template = yaml_parse(built_template.read_text())
    template["Parameters"]["Architecture"] |= {"Default": architecture, "AllowedValues": [architecture]}
    built_template.write_text(yaml_dump(template))


def point_sam_local_at(folder: Path) -> None:
    """Make `sam local` use the build in the folder when it is told no template."""
    template = yaml_parse((folder / "template.yaml").read_text())
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = f"../{folder.name}/{resource['Properties'][name]}"
    default = OUTPUT / "build"
    # A plain `sam build` puts its artefacts there; a symbolic link in their place would make the next one fail.
    shutil.rmtree(default, ignore_errors=True)
    default.mkdir()
    (default / "template.yaml").write_text(yaml_dump(template))


def _parts(target: str) -> tuple[Path, tuple[Path, Path]]:
    folder = OUTPUT / f"build-{target}"
    if target == "host":
        return folder / "functions", (folder / "layer", folder / "iceberg-layer")
    return folder / "SweeperFunction", (folder / "StreamingLayer", folder / "IcebergLayer")


def _fingerprint(target: str) -> str:
    digest = hashlib.sha256(f"{target} {sys.version} {ROOT} {package.compiler_for(target)} {package.EXTRAS}".encode())
    for path in sorted(file for name in INPUTS for file in _files(ROOT / name)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main() -> None:
    """Build and report the named targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("targets", nargs="+", choices=list(package.PLATFORMS))
    parser.add_argument("--no-report", action="store_true", help="measure nothing of what is built")
    arguments = parser.parse_args()
    for target in arguments.targets:
        build(target)
        if target == MACHINES.get(platform.machine()):
            point_sam_local_at(OUTPUT / f"build-{target}")
    if arguments.no_report:
        return
    for target in arguments.targets:
        report(target)
    if "host" in arguments.targets:
        report_imports()


if __name__ == "__main__":
    main()
