"""Fuzzers of everything that reads files: objects, BTF, .BTF.ext, and CO-RE on what they hold.

structure (files taken apart and put together) -> fields (what is worth changing) -> mutate
targets (what is done with an input) and limits (how long and how large) -> judge (its verdict)
seeds, engine, minimise, __main__: the drivers, ``python -m tests.fuzz TARGET --seconds 600``

Nothing here uses the code under test but targets. What was found is kept in crashers/TARGET.
"""
