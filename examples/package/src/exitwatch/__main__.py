"""exitwatch: the programs that end with an error, live."""

from __future__ import annotations

import argparse
import sys

from ebpf import EbpfError, RingBuffer
from exitwatch.exits_bpf import Event, Objects, Variables, spec


def watch(lowest: int) -> None:
    """Print a line for each process that ends with the status `lowest` or a higher one."""
    prepared = spec()
    Variables(prepared).lowest = lowest
    with Objects.load(prepared) as objects, RingBuffer(objects.maps.events) as ring:
        objects.attach()
        print("watching", file=sys.stderr, flush=True)
        event: Event
        for event in ring:
            name = event.name.decode(errors="replace")
            print(event.process, name, "ended with", event.status, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser("exitwatch", description=__doc__)
    parser.add_argument("--lowest", type=int, default=1, help="the lowest status that counts (1)")
    try:
        watch(parser.parse_args().lowest)
    except (EbpfError, OSError) as error:
        print(f"exitwatch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
