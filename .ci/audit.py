"""Look every installed package up in a database of known vulnerabilities, by pip-audit; `make audit`.

Exit code 0: nothing was found, or no database can be reached (which is said, and is 1 with
--strict); 1: something was. A database counts as reached only when it knows the vulnerabilities of
an old release that has some: a mirror that knows no vulnerability at all would let everything pass.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

KNOWN_BAD = "jinja2==2.4.1"
DATABASES = ("osv", "pypi")


def main(argv: list[str]) -> int:
    """Audit, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pip-audit", default="pip-audit", help="the program")
    parser.add_argument(
        "--path", default=sysconfig.get_path("purelib"), help="folder of installed packages"
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail where no database can be reached"
    )
    given = parser.parse_args(argv)
    for database in DATABASES:
        if _knows_the_bad_one(given.pip_audit, database):
            return _audit(given.pip_audit, database, given.path)
    print(
        f"NOT AUDITED: no database of vulnerabilities can be reached (tried {', '.join(DATABASES)})"
    )
    return int(given.strict)


def _asked(program: str, database: str, *what: str) -> list[dict[str, Any]]:
    """What a database says of packages; nothing if it, or the program, cannot be reached."""
    line = [
        program,
        "--vulnerability-service",
        database,
        "--format",
        "json",
        "--progress-spinner",
        "off",
        *what,
    ]
    try:
        done = subprocess.run(
            [*line, "--timeout", "15"], capture_output=True, text=True, timeout=900, check=False
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return []
    return found


def _knows_the_bad_one(program: str, database: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder, "requirements.txt")
        control.write_text(KNOWN_BAD + "\n")
        asked = _asked(
            program, database, "--requirement", str(control), "--no-deps", "--disable-pip"
        )
        return any(one.get("vulns") for one in asked)


def _audit(program: str, database: str, path: str) -> int:
    found = _asked(program, database, "--path", path, "--skip-editable")
    if not found:
        print(f"NOT AUDITED: {database} answers, but the packages in {path} could not be looked up")
        return 1
    bad = [one for one in found if one.get("vulns")]
    for one in bad:
        for ill in one["vulns"]:
            cure = ", ".join(ill.get("fix_versions", [])) or "no release yet"
            print(f"{one['name']} {one['version']}: {ill['id']}, mended in {cure}")
    unknown = [one["name"] for one in found if "skip_reason" in one]
    print(
        f"{len(found) - len(unknown)} packages looked up in {database}, {len(bad)} with known vulnerabilities"
    )
    if unknown:
        print(f"not known there: {', '.join(unknown)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
