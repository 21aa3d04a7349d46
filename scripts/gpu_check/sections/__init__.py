"""What is measured, one module a section: its ``check`` gives a ``Recorder`` its measurements."""

SHARES = {
    "environment": 10,
    "parity": 80,
    "suspicions": 75,
    "speed": 110,
    "attention": 50,
    "compile": 50,
    "synchronisations": 20,
    "encode": 25,
}
"""Sections in the order in which they run, and their shares of the time."""
