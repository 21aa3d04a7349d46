"""How fast an encoder runs here, beside other programs that compute the same features."""

from .calibration import calibrate
from .comparison import compare
from .latency import LatencyResult, measure_latency
from .peers import PEERS, known_peers
from .products import ProductsResult, choose_products
from .result import BenchResult, Row

__all__ = [
    "PEERS",
    "BenchResult",
    "LatencyResult",
    "ProductsResult",
    "Row",
    "calibrate",
    "choose_products",
    "compare",
    "known_peers",
    "measure_latency",
]
