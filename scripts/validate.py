"""Checks all templates as CloudFormation will see them, and the schemas; exit status 1 on any finding.

The application's template, the platform's in every combination of its choices, and checkov over all of them. Needs no
AWS account; checkov is fetched from the package registry when it is not there yet.
"""

import sys

import validate_application
import validate_checkov
import validate_provisioning


def main() -> None:
    """Print what was found."""
    scan = validate_checkov.Scan()  # runs beside the others
    found = validate_application.check() + validate_provisioning.check()
    sys.exit(1 if found + validate_checkov.tell(scan.result()) else 0)


if __name__ == "__main__":
    main()
