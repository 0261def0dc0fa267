"""The object detector: how the published network becomes the file that the package carries."""
