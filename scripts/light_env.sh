#!/usr/bin/env bash
# Make a virtual environment that checks configs, without torch: scripts/light_env.sh FOLDER
# PYTHON names the interpreter. A FOLDER that is there already stays as it is.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="$1"
[ -e "$folder/pyvenv.cfg" ] && exit 0
# Made under another name: if this is stopped, or runs twice, no half of an environment has the name.
new="$(mktemp -d "$folder.XXXXXX")"
trap 'rm -rf "$new"' EXIT
"${PYTHON:-python3}" -m venv "$new"
"$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$root/requirements-light.txt"
"$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$root"
# Scripts in bin/ know the folder by its first name; this one may be run under any.
printf '#!/bin/sh\nexec "$(dirname "$0")/python" -m vision_composer "$@"\n' > "$new/bin/vision-composer"
mv -T "$new" "$folder" 2>/dev/null || [ -e "$folder/pyvenv.cfg" ]
