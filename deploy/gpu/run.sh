#!/bin/sh
# The report on a bare machine: install the carried wheels, nothing from a network, then measure.
#     sh deploy/gpu/run.sh WHEELS [OPTIONS of report.py]
set -eu
repository=$(cd "$(dirname "$0")/../.." && pwd)
wheels=${1:?"usage: sh deploy/gpu/run.sh WHEELS [--seconds S] [--out FILE] [--dry]"}
shift
python=${PYTHON:-python3}

began=$(date +%s)
"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps "$wheels"/*.whl
# What installing took is part of the eight minutes.
spent=$(($(date +%s) - began))
cd "$repository"
PYTHONPATH="$repository" exec "$python" deploy/gpu/report.py --seconds $((470 - spent)) "$@"
