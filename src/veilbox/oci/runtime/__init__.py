"""Containers through any OCI runtime's command line: namespaces, mounts, ids, cgroups, config.json, life cycle."""
