"""Models by themselves: OCI artifacts in the image store that take the place of the model in a detector's image."""
