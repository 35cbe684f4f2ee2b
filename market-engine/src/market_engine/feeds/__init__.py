"""Where events come from: live, recorded or simulated, all through the same few shapes."""
