"""What the server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The numbers of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "lavida_requests", "Answered requests, by path and status", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "lavida_answer_seconds", "From a request's arrival to its answer", registry=registry, buckets=_SECONDS
        )
        self.in_flight = Gauge("lavida_in_flight", "Requests that wait or are being answered", registry=registry)
        self.batch_size = Histogram(
            "lavida_batch_size", "Requests that were denoised together", registry=registry, buckets=_SIZES
        )
        self.tokens = Counter(
            "lavida_tokens", "Tokens, by kind: prompt, image, completion", ["kind"], registry=registry
        )
        self.forwards = Counter("lavida_forwards", "Passes of answers through the language model", registry=registry)
        self.pages = Counter("lavida_pages", "Looks into the cache of pages", ["found"], registry=registry)
        self.cache_bytes = Gauge("lavida_cache_bytes", "Bytes of encoded pages that are kept", registry=registry)
        self.abandoned = Counter(
            "lavida_abandoned", "Requests given up: the client left, or the deadline passed", registry=registry
        )
        self.failures = Counter("lavida_failures", "Errors inside the server", registry=registry)

    def text(self) -> bytes:
        """Prometheus' text form."""
        return generate_latest(self._registry)
