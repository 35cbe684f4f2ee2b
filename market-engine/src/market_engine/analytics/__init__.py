"""Pure calculation over trades, by event time: windows, bars, averages. No clock and no edge."""
