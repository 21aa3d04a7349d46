"""The vision tower: its block loop, what is read off the blocks, and token positions. Loads no torch."""
