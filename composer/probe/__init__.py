"""What every hidden state of an encoder knows of images with labels: the experiment that chooses layers."""

from .labelled import Labelled, load_digits, load_folder
from .probing import probe_layers
from .result import LayerProbe, ProbeReport

__all__ = ["Labelled", "LayerProbe", "ProbeReport", "load_digits", "load_folder", "probe_layers"]
