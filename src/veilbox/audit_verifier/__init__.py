"""Checks an audit log with the log and its public key alone, straight from RFC 9162 and C2SP's specifications.

Shares no code with the writer: another implementation of the tree, of the notes and of Ed25519.
"""
