"""metrics-sidecar: count every trade that arrives over ZeroMQ, and show the totals to Prometheus."""
