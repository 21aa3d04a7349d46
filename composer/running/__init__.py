"""How a tower runs: its attention backend, compilation, first runs, and training."""
