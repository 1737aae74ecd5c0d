"""``python -m ebpf``."""

from ebpf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
