"""The tables, the same on every engine, and the version that a database bears.

Values by name (figures, metrics, genotypes) are JSON in text columns: an engine's own JSON type may round numbers,
reorder keys and refuse what Python's reads. Measurements are one row per trial and epoch with all metrics of it: they
are written and read together, so a row per metric would multiply rows and look-ups for nothing.
"""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
)

from db.trial import SearchState, TrialState
from search_spaces.errors import Conflict, NewerFormat, NotFound

VERSION = "0002"
_NO_LONGER_READ = (None, "0001")
"""Layouts that no release had; None is a version table without its row."""

metadata = MetaData(
    # Fixed names, so that a migration can address a constraint on any engine.
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

FIGURES = (
    "params",
    "macs",
    "flops",
    "activation_bytes",
    "weight_bytes",
    "peak_inference_bytes",
    "depth",
    "receptive_field",
)
"""The figures of an architecture that have a column of their own: those that the analysis names, in its order."""


def _one_of(column: str, states: Iterable[StrEnum]) -> CheckConstraint:
    names = ", ".join(f"'{state}'" for state in states)
    return CheckConstraint(f"{column} IN ({names})", name=column)


searches = Table(
    "searches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("run", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("controller", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("budget", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("driver_host", Text),
    Column("driver_pid", BigInteger),
    Column("driver_started_at", Double),
    # The lease: which claim the driver holds the search by, and when it last said so, by the database's clock.
    Column("driver_token", String(32)),
    Column("driver_seen_at", Double),
    _one_of("state", SearchState),
    CheckConstraint("budget >= 0", name="budget"),
    CheckConstraint("(driver_token IS NULL) = (driver_pid IS NULL)", name="driver"),
)

architectures = Table(
    "architectures",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("space", Text, nullable=False),
    Column("document", Text, nullable=False),
    *(Column(name, BigInteger) for name in FIGURES),
    # Figures without a column of their own, or whose value is no whole number of 64 bits.
    Column("other_figures", Text, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("search_id", Integer, ForeignKey(searches.c.id), primary_key=True),
    Column("proposal", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger),
    Column("state", String(16), nullable=False),
    Column("genotype", Text, nullable=False),
    Column("architecture_key", String(32), ForeignKey(architectures.c.key), nullable=False),
    Column("evaluation_key", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("fidelity", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("parent", BigInteger),
    Column("mutation", Text),
    Column("information", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("worker", Text),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("seconds", Double),
    Column("metrics", Text, nullable=False),
    Column("reason", Text),
    # By name and not by reference: where a result came from stays true when that search is gone.
    Column("reused_search", Text),
    Column("reused_number", BigInteger),
    Column("observed", BigInteger),
    Column("weights_sha256", String(64)),
    UniqueConstraint("search_id", "number"),
    UniqueConstraint("search_id", "observed"),
    ForeignKeyConstraint(["search_id", "parent"], ["trials.search_id", "trials.number"]),
    _one_of("state", TrialState),
    CheckConstraint(f"(state = '{TrialState.REJECTED}') = (number IS NULL)", name="number"),
    CheckConstraint("(reused_search IS NULL) = (reused_number IS NULL)", name="reused"),
    CheckConstraint("attempts >= 0", name="attempts"),
    Index(None, "architecture_key", "evaluation_key", "state"),
)
_has_weights = trials.c.weights_sha256.is_not(None)
# Of the few trials whose weights are kept.
Index(None, trials.c.weights_sha256, sqlite_where=_has_weights, postgresql_where=_has_weights)

measurements = Table(
    "measurements",
    metadata,
    Column("search_id", Integer, primary_key=True),
    Column("proposal", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("metrics", Text, nullable=False),
    ForeignKeyConstraint(["search_id", "proposal"], [trials.c.search_id, trials.c.proposal]),
    CheckConstraint("epoch >= 1", name="epoch"),
)

schema_version = Table(
    "nas_schema_version",
    metadata,
    # The form that Alembic expects of its version table.
    Column("version_num", String(32), primary_key=True),
)


def is_empty(connection: Connection) -> bool:
    """Whether the database has no table at all, neither ours nor anybody's."""
    return not inspect(connection).get_table_names()


def create(connection: Connection) -> None:
    """Makes all tables in a database that has none."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(schema_version).values(version_num=VERSION))


def check(connection: Connection, where: str) -> None:
    """Makes sure that the database at `where` is ours and of this version.

    Raises:
        NotFound: it has no tables at all.
        Conflict: it was made by another program, or by a nas before the first release.
        NewerFormat: it was made by a newer nas.
    """
    if is_empty(connection):
        raise NotFound(f"{where} is empty; the first search makes its tables")
    if not inspect(connection).has_table(schema_version.name):
        raise Conflict(f"{where} was not made by nas; give another database with --db")
    version = connection.execute(select(schema_version.c.version_num)).scalar()
    if version in _NO_LONGER_READ:
        raise Conflict(
            f"{where} has schema {version}, this nas reads {VERSION}; "
            "open it with the nas that made it, or give a new database with --db"
        )
    if version != VERSION:
        raise NewerFormat(
            f"{where} has schema {version}, this nas reads {VERSION}; upgrade nas, or give another database with --db"
        )
