"""stub"""
from __future__ import annotations
from .guest import Root
KERNEL = "6.1"
def root() -> Root:
    return Root()
