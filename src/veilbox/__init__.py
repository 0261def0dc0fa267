"""veilbox takes identities out of images and video inside sealed containers."""

__version__ = "0.1.0"
