"""What portald remembers: every SQL statement of the product is in ``store.py``."""

from portald.store.store import Store

__all__ = ["Store"]
