"""Encoders exported: files that run without transformers, and the small runtime that runs them."""
