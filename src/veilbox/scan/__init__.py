"""Scan: what a configuration promises about walls, read from the file and judged by rules.

    reading         bytes -> trees whose every value knows its line; bounded, nothing is ever executed
    tree            the tree, and places in it that may be missing
    workload        what is common to a Kubernetes pod, a Compose file and an OCI config.json
    kubernetes, compose, oci_config     one reader for each format, and the checks that only it needs
    pod_security    the Pod Security Standards, field by field
    shared_checks   checks on mounts and images, the same for every format
    components      veilbox's own: who may see what
    rules           the table: id, severity, references, what an attacker gains, what mends it
    suppression     findings that somebody took on himself, with a reason
    scanner         files -> findings
    sarif           findings as SARIF 2.1.0

It reads configuration text, never footage, and says what a file declares. What holds is measured (`veilbox.seal`).
"""
