"""Boots a Debian kernel under QEMU and runs a command in it, with this checkout inside.

    python -m tests.vm --kernel 6.1 -- python3 -m pytest tests/kernel
    python -m tests.vm --prepare
    python -m tests.vm.headers all

    host.py      the cache, locks, required programs; HarnessError
    packages.py  apt: choose, download and unpack Debian packages without installing them
    kernels.py   which kernels there are, and their unpacked trees
    guest.py     boot, run, judge          init.sh    what the guest runs first
    headers.py   kernel headers of each suite, for compiling against them
    arm64.py     the root file system of the arm64 guest

Nothing here imports the library that it tests.
"""
