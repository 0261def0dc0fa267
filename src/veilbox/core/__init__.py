"""Floor 0: words. Values and errors, without I/O and without a clock."""
