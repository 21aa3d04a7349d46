"""What is measured, one module a section: its ``check`` gives a ``Recorder`` its measurements."""

SHARES = {
    "environment": 5,
    "parity": 65,
    "suspicions": 70,
    "speed": 130,
    "attention": 45,
    "compile": 50,
    "synchronisations": 5,
    "encode": 50,
}
"""Sections in the order in which they run, and their shares of the time."""
