"""One file for each step, never changed after its release."""
