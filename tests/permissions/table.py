"""Writes docs/permissions.md: each grant of each function with the scenarios that need it, or the reason for it.

PYTHONPATH=tests python -m permissions.table
"""

import contextlib
import io
import os

from permissions.deployed import FUNCTIONS, ROOT
from permissions.grants import Grant, all_grants, exercised_by
from permissions.reasons import REASONS
from permissions.scenarios import SCENARIOS

from headrace_cli.local.aws_endpoint import REGION

DOCUMENT = ROOT / "docs" / "permissions.md"
COMMAND = "PYTHONPATH=tests .venv/bin/python -m permissions.table"
HEAD = f"""# Permissions

What each function may do, and what proves that it has to. Generated from `template.yaml` and from the calls that the
real handlers make in `tests/permissions`; do not edit, run `{COMMAND}`.

*Needed by* names the scenarios (in `tests/permissions/scenarios.py`) of which at least one call is refused when this
one grant is taken away: IAM's decision is computed with the function's own policies and the bucket's. A grant that no
call needs has a *reason* instead: somebody else uses it with the function's role.

- `CopyObject` is `s3:GetObject` on its source and `s3:PutObject` on its destination. It would need
  `s3:GetObjectTagging` and `s3:PutObjectTagging` for objects with tags; nothing tags any.
- `s3:ListBucket` is also what turns 403 into 404 for an object that is missing ("lost object").
- `DeleteObjects` is `s3:DeleteObject` on each key.
- Everything is switched on here that comes with grants of its own: a customer's key (`KmsKeyArn`) and traces. With the
  key, S3 needs `kms:Decrypt` to read and `kms:GenerateDataKey` to write, DynamoDB `kms:Decrypt`, in the caller's name.
- Not measured here: what Lambda and the event source mapping do with the role, and what brokers check.
"""


def document() -> str:
    """The whole document."""
    return "\n".join([HEAD, *(line for function in FUNCTIONS for line in _section(function)), ""]).rstrip() + "\n"


def _section(function: str) -> list[str]:
    rows = [_row(grant) for grant in all_grants() if grant.function == function]
    return [
        f"## {function}",
        "",
        "| statement | action | resource | needed by, or reason |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _row(grant: Grant) -> str:
    return f"| {grant.sid} | `{grant.action}` | `{grant.place}` | {_why(grant)} |"


def _why(grant: Grant) -> str:
    scenarios = exercised_by(grant)
    if scenarios:
        return "all scenarios" if len(scenarios) == len(SCENARIOS) else ", ".join(scenarios)
    return "; ".join(f"*{reason.why}*" for reason in REASONS if reason.covers(grant)) or "**nothing**"


def main() -> None:
    """Write it. What the functions print meanwhile is of no interest."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "HEADRACE_", "POWERTOOLS_"))]:
        del os.environ[name]
    os.environ["AWS_DEFAULT_REGION"] = REGION  # the translator asks for one
    with contextlib.redirect_stdout(io.StringIO()):
        text = document()
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
