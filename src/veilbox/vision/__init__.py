"""Floor 1: what is in the picture and what is done about it. Four rooms that ignore each other."""
