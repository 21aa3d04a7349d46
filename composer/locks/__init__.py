"""``vision-composer.lock``: the files that configs were checked with, and holding to them. Loads no torch."""

from __future__ import annotations
