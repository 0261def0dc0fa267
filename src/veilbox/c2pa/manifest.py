"""A claim -> the definition of a manifest, in the library's words. Pure.

`c2pa.opened` and an ingredient without a name say that there was a source; no digest of it, which would tell who has
the source that this is its output. That pixels were covered is `c2pa.edited`: C2PA's `c2pa.redacted` speaks of
assertions that were taken out of a manifest (C2PA 2.2, 18.15 "Actions"). No action says when: nobody vouches for the
machine's clock, and the audit log has the time.
"""

from __future__ import annotations

from veilbox.core.claim import ASSERTION, Claim

_SOURCE = "source"


def definition(claim: Claim, media_type: str) -> dict[str, object]:
    """The definition, ready for JSON.

    Args:
        claim: What the manifest says.
        media_type: Of the output and, as far as anybody is told, of its source.
    """
    agent = {"name": "veilbox", "version": claim.veilbox}
    return {
        "claim_version": 2,
        "claim_generator_info": [agent],
        "format": media_type,
        "ingredients": [{"relationship": "parentOf", "format": media_type, "label": _SOURCE}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": _actions(claim, agent)}},
            {"label": ASSERTION, "data": _redaction(claim)},
        ],
    }


def _actions(claim: Claim, agent: dict[str, str]) -> list[dict[str, object]]:
    edited = f"Redacted: what was found of {', '.join(claim.hidden)} is covered ({claim.style})"
    return [
        {"action": "c2pa.opened", "softwareAgent": agent, "parameters": {"ingredientIds": [_SOURCE]}},
        {"action": "c2pa.edited", "softwareAgent": agent, "description": edited},
    ]


def _redaction(claim: Claim) -> dict[str, object]:
    return {
        "hidden": list(claim.hidden),
        "style": claim.style,
        "policy": claim.policy,
        "models": claim.models,
        "audit": {"log": claim.log, "entry": claim.entry, "leaf": claim.leaf, "job": claim.job},
    }
