"""Floor 3: outside the containers. A job becomes a plan, a plan becomes a running pod, a run becomes a report."""
