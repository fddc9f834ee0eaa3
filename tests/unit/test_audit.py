"""The audit fails on a vulnerability, and says so when it could not look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

BAD = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "CVE-2014-0012", "fix_versions": ["2.7.2"]}],
}
GOOD = {"name": "numpy", "version": "2.4.6", "vulns": []}
LOCAL = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


def audit(folder: Path, control: list[Any], installed: list[Any], *more: str) -> tuple[int, str]:
    """With a program in the place of pip-audit that answers so from the first database."""
    program = folder / "pip-audit"
    answers = {"control": {"dependencies": control}, "installed": {"dependencies": installed}}
    program.write_text(
        f"#!{sys.executable} -IS\nimport json, sys\nanswers = json.loads({json.dumps(json.dumps(answers))})\n"
        "if 'osv' not in sys.argv: sys.exit(2)\n"
        "print(json.dumps(answers['control' if '--requirement' in sys.argv else 'installed']))\n"
    )
    program.chmod(0o755)
    line = [sys.executable, str(ROOT / ".ci" / "audit.py"), "--pip-audit", str(program), *more]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    code, said = audit(tmp_path, [BAD], [GOOD, BAD, LOCAL])
    assert code == 1
    assert "jinja2 2.4.1: CVE-2014-0012, mended in 2.7.2" in said
    assert "2 packages looked up in osv, 1 with known vulnerabilities" in said
    assert "not known there: torch" in said


def test_nothing_known_passes(tmp_path: Path) -> None:
    assert audit(tmp_path, [BAD], [GOOD]) == (
        0,
        "1 packages looked up in osv, 0 with known vulnerabilities\n",
    )


@pytest.mark.parametrize("control", [[], [{**BAD, "vulns": []}], [LOCAL]])
def test_a_database_that_knows_nothing_is_none(tmp_path: Path, control: list[Any]) -> None:
    code, said = audit(tmp_path, control, [GOOD])
    assert (code, said.partition(":")[0]) == (0, "NOT AUDITED")
    assert audit(tmp_path, control, [GOOD], "--strict")[0] == 1


def test_no_program_is_no_audit(tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / ".ci" / "audit.py"), "--pip-audit", str(tmp_path / "none")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("NOT AUDITED")
