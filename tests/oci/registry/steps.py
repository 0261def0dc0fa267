"""The requests of which a pull and a push consist, by what they are for: a method and the form of the path."""

from __future__ import annotations

PULL_STEPS = {
    "manifest by tag": ("GET", "/manifests/1.0$"),
    "manifest by digest": ("GET", "/manifests/sha256:"),
    "list of referrers": ("GET", "/referrers/"),
    "list of referrers by tag": ("GET", "/manifests/sha256-[0-9a-f]{64}$"),
    "blob": ("GET", "/blobs/sha256:"),
}
PUSH_STEPS = {
    "look for the blob": ("HEAD", "/blobs/sha256:"),
    "open the upload": ("POST", "/blobs/uploads/"),
    "finish the upload": ("PUT", "/blobs/uploads/"),
    "manifest": ("PUT", "/manifests/sha256:"),
    "list of referrers by tag": ("PUT", "/manifests/sha256-"),
    "tag": ("PUT", "/manifests/1.0$"),
}
