"""The tower: the one block loop, what is read off the blocks, and where its tokens stand. Loads no torch."""
