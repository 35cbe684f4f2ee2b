"""The desk: Buy and Sell in the browser, and see each trade counted."""
