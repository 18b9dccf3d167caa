"""What is counted and shown: `declared` says what there is, `counted` feeds it, `scraped` reads it when asked."""

from gateway.metrics.counted import Metrics

__all__ = ["Metrics"]
