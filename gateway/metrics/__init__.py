"""What is counted and shown: `declared` says what there is, `counted` feeds it, `scraped` reads it when asked."""

from gateway.metrics.counted import Metrics
from gateway.metrics.exposition import Exposition, exposed, shown_now
from gateway.metrics.local import LocalMetrics

__all__ = ["Exposition", "LocalMetrics", "Metrics", "exposed", "shown_now"]
