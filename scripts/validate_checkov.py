"""checkov over all templates, each suppression standing in its resource with a reason.

It asks for other versions of boto3 and PyYAML than the lock file has, so it runs in an environment of its own, which
uv makes at its first use and keeps.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import validate_application
from validate_provisioning import PROVISIONING, STACKS

VERSION = "3.3.30"
TIMEOUT_S = 300
UV = Path(sys.executable).with_name("uv")
TEMPLATES = (validate_application.TEMPLATE, *(PROVISIONING / f"{name}.yaml" for name in STACKS))


@dataclass(frozen=True)
class Result:
    """What checkov came to."""

    findings: list[str]
    passed: int
    suppressed: int


class Scan:
    """checkov at work in a process of its own, while other checks run."""

    def __init__(self) -> None:
        files = [option for path in TEMPLATES for option in ("--file", str(path))]
        command = [str(UV), "tool", "run", "--from", f"checkov=={VERSION}", "checkov", *files]
        self._process = subprocess.Popen(
            [*command, "--framework", "cloudformation", "--skip-download", "--output", "json"],
            cwd=validate_application.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> Result | None:
        """What it found; nothing where it cannot be had, which under CI is a finding."""
        try:
            out, trouble = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            out, trouble = "", f"not done in {TIMEOUT_S} s"
        try:
            return read(json.loads(out))
        except ValueError:
            said = (trouble.strip().splitlines() or ["nothing"])[-1]
            return Result([f"checkov {VERSION} did not run: {said}"], 0, 0) if os.environ.get("CI") else None


def read(report: Mapping[str, Any]) -> Result:
    """The findings in checkov's report: what failed, and what is suppressed without need or reason.

    Raises:
        ValueError: it is no report of a scan.
    """
    if "results" not in report:
        raise ValueError("no scan")
    results = report["results"]
    failed = [f"{c['check_id']}: {c['check_name']} ({c['resource']})" for c in results["failed_checks"]]
    failed += [f"cannot be parsed: {path}" for path in results.get("parsing_errors", [])]
    used = {(check["resource"].rpartition(".")[2], check["check_id"]) for check in results["skipped_checks"]}
    declared = {(name, entry["id"]): entry.get("comment", "") for name, entry in suppressions()}
    failed += [f"{check} is suppressed on {name}, where it passes" for name, check in sorted(set(declared) - used)]
    failed += [
        f"{check} is suppressed on {name} without a reason" for (name, check), why in declared.items() if not why
    ]
    return Result(failed, len(results["passed_checks"]), len(used))


def suppressions() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every suppression in the templates, with the name of its resource."""
    for path in TEMPLATES:
        for name, resource in validate_application.load_template(path)["Resources"].items():
            for entry in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
                yield name, entry


def tell(result: Result | None) -> int:
    """Print what checkov came to; the number of findings."""
    if result is None:
        print(f"checkov {VERSION}: not to be had here, skipped; CI runs it")
        return 0
    print(f"checkov {VERSION}: {result.passed} passed, {result.suppressed} suppressed, {len(result.findings)} findings")
    for line in result.findings:
        print(f"  {line}")
    return len(result.findings)
