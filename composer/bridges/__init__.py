"""Encoders inside transformers: as a ``PreTrainedModel``, and as the tower of a new vision-language model."""
