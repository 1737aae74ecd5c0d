"""The figures that this project claims, each beside its C limit and a peer, in one run."""
