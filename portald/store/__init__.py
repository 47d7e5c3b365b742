"""What portald remembers: every SQL statement of the product is in this package."""

from portald.store.store import Store

__all__ = ["Store"]
