"""What `veilbox doctor` says of the component images."""

from __future__ import annotations

from veilbox.core.errors import VeilboxError
from veilbox.oci.admit import Trust, admit
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.store import ImageStore
from veilbox.oci.runtime.facts import Fact


def image_fact(store: ImageStore) -> Fact:
    """Whether every component image can be admitted."""
    names = image_names()
    try:
        trust = Trust.of(store)
        for name in names:
            admit(store, name, trust=trust)
    except VeilboxError as error:
        return Fact(name="images", state=str(error), ok=False, required=True, advice="veilbox image build")
    return Fact(name="images", state=f"{len(names)} images admitted", ok=True, required=True, advice="")
