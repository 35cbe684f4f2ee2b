"""metrics-sidecar: count each trade that arrives over ZeroMQ, show the totals to Prometheus."""
