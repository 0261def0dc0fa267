"""Floor 5: people. One file for each command: parse, call one function, render."""
