#!/bin/sh
# Collect the wheels that a machine without a network is given, and say how large they are.
#     sh deploy/gpu/wheels.sh FOLDER [PYTHON]      PYTHON: the version there, 3.12 if left out
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?"usage: sh deploy/gpu/wheels.sh FOLDER [PYTHON]"}
version=${2:-3.12}
most=60

mkdir -p "$folder"
grep -v '^#' "$here/wheels.txt" | "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check \
    --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --dest "$folder" --requirement /dev/stdin
mib=$(du -sm "$folder" | cut -f1)
echo "$folder: $(find "$folder" -name "*.whl" | wc -l) wheels, $mib MiB of at most $most"
[ "$mib" -le "$most" ]
