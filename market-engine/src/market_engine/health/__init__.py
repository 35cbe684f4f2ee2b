"""Whether a feed can be believed, symbol by symbol. Pure: no clock and no edge."""
