"""The command line: python -m ebpf."""
