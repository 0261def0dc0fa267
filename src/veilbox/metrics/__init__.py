"""What a run costs: a bounded histogram of durations, what the kernel's cgroups counted, what a process read and wrote.

A figure that the kernel does not tell is None, never 0.
"""
