#!/usr/bin/env bash
# Run a command that needs no torch in an environment of its own, which the first run makes: scripts/light.sh validate
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
"$root/scripts/light_env.sh" "$root/.venv-light"
exec "$root/.venv-light/bin/vision-composer" "$@"
