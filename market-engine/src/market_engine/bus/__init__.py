"""What carries messages between the parts; in this process, or later a broker."""
