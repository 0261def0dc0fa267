"""Trust in images: who signed what, what is inside, and what this machine accepts.

`keys` and `dsse` are the crafts, `signature` and `attestation` the two kinds of evidence in cosign's forms, `policy`
says what is accepted, `verify` decides, without I/O, in numbered clauses; `evidence`, `store` and `endorse` read and
write.
"""
