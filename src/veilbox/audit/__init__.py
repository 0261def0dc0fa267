"""The audit log's writer: Merkle tree, checkpoints, typed entries and append-only storage (RFC 9162, C2SP)."""
