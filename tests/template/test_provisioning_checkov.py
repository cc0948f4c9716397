"""checkov's report is read strictly: what failed, what is suppressed for nothing, and what has no reason."""

import pytest
import validate_checkov
from validate_checkov import read, suppressions


def report(failed=(), skipped=None):
    if skipped is None:
        skipped = [(name, entry["id"]) for name, entry in suppressions()]
    return {
        "results": {
            "passed_checks": [{}],
            "failed_checks": [{"check_id": c, "check_name": "Ensure", "resource": r} for r, c in failed],
            "skipped_checks": [{"check_id": c, "resource": f"AWS::X.{r}"} for r, c in skipped],
        }
    }


def test_a_clean_report_has_no_findings():
    result = read(report())
    assert result.findings == []
    assert (result.passed, result.suppressed) == (1, len(list(suppressions())))


def test_what_failed_is_named():
    assert read(report(failed=[("AWS::X.Y", "CKV_1")])).findings == ["CKV_1: Ensure (AWS::X.Y)"]


def test_a_suppression_that_nothing_needs_is_a_finding():
    (name, entry), *others = suppressions()
    found = read(report(skipped=[(n, e["id"]) for n, e in others])).findings
    assert found == [f"{entry['id']} is suppressed on {name}, where it passes"]


def test_every_suppression_has_its_reason():
    assert all(len(entry["comment"]) > 20 for _, entry in suppressions())


def test_what_is_no_report_is_no_pass():
    with pytest.raises(ValueError, match="no scan"):
        read({"passed": 0})


def test_under_ci_a_checkov_that_does_not_run_is_a_finding(monkeypatch):
    monkeypatch.setattr(validate_checkov, "VERSION", "0.0.0.nothing")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.delenv("CI", raising=False)
    assert validate_checkov.Scan().result() is None
    monkeypatch.setenv("CI", "true")
    assert "did not run" in validate_checkov.Scan().result().findings[0]
