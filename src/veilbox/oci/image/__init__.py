"""Component images: the image-spec's values, their store, how they are built, and how layers become folders."""
