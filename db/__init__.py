"""What has been found: searches, trials, architectures and measurements, in an SQLite file or a PostgreSQL database.

The values are plain; `Store` loads SQLAlchemy, so it is imported only when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from db.trial import ArchitectureRecord, Measurement, Search, SearchState, Trial, TrialState

if TYPE_CHECKING:
    from db.store import SearchSummary, Store

__all__ = [
    "ArchitectureRecord",
    "Measurement",
    "Search",
    "SearchState",
    "SearchSummary",
    "Store",
    "Trial",
    "TrialState",
]


def __getattr__(name: str) -> Any:
    if name in ("SearchSummary", "Store"):
        from db import store

        return getattr(store, name)
    raise AttributeError(f"module 'db' has no attribute {name!r}")
