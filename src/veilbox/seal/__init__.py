"""What is left of a component's walls, measured: a probe from inside, an observer from the host, and the allow-lists.

    probe       runs in a component before any picture does; every gate is a real attempt
    observe     runs in the supervisor; compares namespace numbers and id ranges, which only the host can
    canary      puts things on the host that a sealed component must not reach
    allowlist   the system calls that each component really makes

`veilbox.core.isolation` judges what they find.
"""
