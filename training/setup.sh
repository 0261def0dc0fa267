#!/bin/sh
# Typefaces and a Python environment for the training, below one folder; nothing is installed on the machine.
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder/debs" "$folder/fonts"
folder=$(cd "$folder" && pwd)

if [ ! -e "$folder/fonts/.complete" ]; then
    echo "setup: typefaces for the plates" >&2
    # shellcheck disable=SC2046  # one package a line
    (cd "$folder/debs" && apt-get download -q $(grep -v '^#' "$here/fonts.txt"))
    for package in "$folder"/debs/*.deb; do
        dpkg-deb -x "$package" "$folder/fonts"
    done
    touch "$folder/fonts/.complete"
fi

if [ ! -e "$folder/venv/.complete" ] || [ "$here/requirements.txt" -nt "$folder/venv/.complete" ]; then
    echo "setup: PyTorch and what else the training needs" >&2
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet -r "$here/requirements.txt"
    touch "$folder/venv/.complete"
fi
