"""What others are told: HTTP, websocket, server-sent events, and /metrics."""
