"""The loading engine: YAML with positions, ``extends``, overrides, references, and located errors."""
