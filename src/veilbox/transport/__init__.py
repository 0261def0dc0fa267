"""Frames between components: rings of pixels in shared memory, small messages beside them.

A ring holds pixels only; geometry, order and ownership come from messages, and every number in a message is checked
against bounds and the ring file's real size before it is used. What a peer does wrong is a `ProtocolError`, what we
do wrong is a `LocalProtocolError`; a peer can cause no other exception.

    messages   what is said on an edge, as values and as packets
    protocol   who may say what when, and who owns a slot: state machines without I/O
    ring       the file of slots
    channel    the socket of one edge
    waiting    the seam through which this room waits
    producer, consumer, relay   the three put together: frames by ring, boxes and audio by message
    control    between supervisor and component, with descriptors
    info       what a Start announces
    strict_json, bounds   the checks that they share
"""
