"""Floor 2: what runs inside a container, one module per component and the loop that they share."""
