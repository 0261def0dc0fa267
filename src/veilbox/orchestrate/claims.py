"""Outputs with a C2PA manifest: who may ask for a signature, how often, and what becomes the output.

The claim component sees the finished output and writes a copy with a manifest; the key stays here, where no pixel is.
It cannot be seen here what a signature is made over: whoever took over that component could have anything signed, once
for each output of the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from veilbox.core.claim import Claim, media_type
from veilbox.core.control import OpenClaim, Signature, ToSign
from veilbox.core.errors import ProtocolError
from veilbox.core.job import Item
from veilbox.core.policy import Policy
from veilbox.orchestrate.plan import CLAIM
from veilbox.orchestrate.pod import Pod
from veilbox.orchestrate.staging import StagedOutput
from veilbox.vault.signing_credential import SigningCredential

# A claim names assertions by digest: ours has 1.5 kB, whatever the output's size.
_MOST_TO_SIGN = 16 << 10


def check_formats(items: Iterable[Item], policy: Policy) -> None:
    """Refuse outputs that cannot carry a manifest, before anything is opened.

    Raises:
        UsageError: There is one, and the policy wants manifests.
    """
    if policy.c2pa:
        for item in items:
            media_type(item.suffix)


@dataclass(kw_only=True, slots=True)
class _Copy:
    staged: StagedOutput
    signed: bool = False


class Claims:
    """Copies of outputs on their way to their manifests.

    Args:
        pod: Components that are ready, claim among them.
        credential: What signs.
        claim: What every manifest of the job says.
    """

    def __init__(self, pod: Pod, credential: SigningCredential, claim: Claim) -> None:
        self._pod = pod
        self._credential = credential
        self._claim = claim
        self._copies: dict[int, _Copy] = {}

    def ask(self, number: int, item: Item, output: StagedOutput) -> None:
        """Have a copy of a frozen output made, with a manifest in it.

        Raises:
            OutputError: It cannot be staged.
        """
        copy = StagedOutput.create(output.path, replace=output.replace)
        self._copies[number] = _Copy(staged=copy)
        message = OpenClaim(
            item=number,
            suffix=item.suffix,
            claim=self._claim,
            algorithm=self._credential.algorithm,
            signature_bytes=self._credential.signature_bytes,
            chain=self._credential.chain,
        )
        self._pod.send(CLAIM, message, [output.fd, copy.fd])

    def sign(self, message: ToSign) -> None:
        """Answer with a signature.

        Raises:
            ProtocolError: None is due, or what is to be signed is no claim by its size.
        """
        copy = self._copies.get(message.item)
        if copy is None or copy.signed or len(message.data) > _MOST_TO_SIGN:
            raise ProtocolError("a signature that is not due", where=CLAIM, actual=f"item {message.item}")
        copy.signed = True
        self._pod.send(CLAIM, Signature(item=message.item, signature=self._credential.sign(message.data)))

    def done(self, number: int) -> StagedOutput:
        """The copy, which nobody can write any more.

        Raises:
            ProtocolError: There is none, it was not signed, or it is still open for writing.
        """
        copy = self._copies.get(number)
        if copy is None or not copy.signed:
            raise ProtocolError("an output that it was not asked about", where=CLAIM, actual=str(number))
        copy.staged.freeze(writer=CLAIM)
        return self._copies.pop(number).staged

    def drop(self, number: int) -> None:
        """Leave nothing of a copy; safe to call for an item that has none."""
        copy = self._copies.pop(number, None)
        if copy is not None:
            copy.staged.discard()
