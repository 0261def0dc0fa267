"""Registries of the OCI distribution specification 1.1: references, credentials, transfers, archives."""
