"""C2PA manifests: what they say, and the one door to the library that writes them; in the claim image only."""
