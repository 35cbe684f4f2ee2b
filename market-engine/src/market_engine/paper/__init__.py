"""The paper desk: orders, risk, fills, the ledger and portfolios, on the market's own events."""
