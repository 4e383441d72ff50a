"""What a run file may say: every key with its type, its default and its bounds."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from db.trial import UNBOUNDED, check_search_name
from db.url import shown, without_passwords
from search_spaces.errors import Conflict, NotFound, UserError, unknown_name

OF_THE_USER = ("cluster", "insecure", "tune_directory")
"""Keys that a database, which may come from anybody, has no say in: to whom this process connects, and sends files."""


class RunConfig(BaseModel):
    """A search as the user describes it; flags of the command line override the keys of a run file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str | None = None
    """What the search is called in the database; made from the controller and the data unless given."""
    space: str = "cellular"
    space_settings: dict[str, Any] = Field(default_factory=dict)
    evaluator: str = "training"
    evaluator_settings: dict[str, Any] = Field(default_factory=dict)
    data: str = "digits"
    controller: str = "reinforce"
    controller_settings: dict[str, Any] = Field(default_factory=dict)
    warm_start: str | None = None
    """Which architectures come first, as `PROXY`, `PROXY:COUNT` or `PROXY:COUNT:DRAWN`."""
    trials: int | None = Field(default=None, ge=1, le=UNBOUNDED)
    """30 unless told; without bound where there is a time budget or the controller ends by itself."""
    time_budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds of evaluation, added up over all trials, after which no more are begun."""
    epochs: int | None = Field(default=None, ge=1, le=10**6)
    """20 unless told or the evaluator has fidelities of its own."""
    stopping: Literal["asha", "hyperband"] | None = None
    stopping_settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the search: what the controller proposes derives from it."""
    training_seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the training of every candidate; searches that share it share results."""
    workers: int = Field(default=2, ge=1, le=10**5)
    executor: Literal["serial", "ray", "ray_tune"] = "ray"
    tune_directory: str | None = Field(default=None, min_length=1)
    """Where ray_tune leaves the files of its loggers; nowhere unless told. Never read from a database."""
    cluster: str | None = None
    """The Ray cluster to run on, `HOST:PORT` or `auto`; one of our own unless told. Never read from a database."""
    insecure: bool = False
    """Whether the cluster may be one that asks for no token. Never read from a database."""
    slots_per_gpu: int | None = Field(default=None, ge=1, le=1_000)
    """How many candidates share a GPU; by their predicted memory unless told."""
    deadline: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    """Seconds within which a worker must show a measurement or a result; then it is killed, and its trial has failed."""
    objectives: tuple[str, ...] = Field(default=(), strict=False)
    """The evaluator's usual one unless told."""
    constraints: tuple[str, ...] = Field(default=(), strict=False)
    db: str = "nas.db"
    weights: str | None = Field(default=None, min_length=1)
    """The directory of trained weights: FILE.weights beside an SQLite file, nas-weights with PostgreSQL unless told."""
    checkpoints: str | None = Field(default=None, min_length=1)
    """Where trainings keep their state: a directory or an fsspec URL; beside an SQLite file unless told."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None:
            check_search_name(name)
        return name

    @field_validator("checkpoints")
    @classmethod
    def _has_no_password(cls, place: str | None) -> str | None:
        if place is not None and shown(place) != place:
            raise ValueError("give passwords in the environment or a file of the client, for the place is recorded")
        return place

    @field_validator("db", "weights", "checkpoints", "tune_directory")
    @classmethod
    def _is_text(cls, place: str | None) -> str | None:
        # A path in bytes that are no UTF-8 could not be recorded.
        if place is not None and not place.isprintable():
            raise ValueError("it must be printable text")
        return place

    @field_validator("tune_directory")
    @classmethod
    def _is_for_tune(cls, directory: str | None, info: ValidationInfo) -> str | None:
        if directory is not None and info.data.get("executor", "ray_tune") != "ray_tune":
            raise ValueError("only the executor ray_tune has a directory; choose it or leave this out")
        return directory

    @field_serializer("db")
    def _without_password(self, db: str) -> str:
        return shown(db)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ((name, shown(value) if name == "db" else value) for name, value in super().__repr_args__())

    def to_json(self) -> str:
        """The run as JSON text, every default spelled out; without passwords and what concerns one user alone."""
        return self.model_dump_json(exclude=set(OF_THE_USER))

    @classmethod
    def from_json(cls, text: str) -> "RunConfig":
        """Reads what `to_json` wrote.

        Raises:
            Conflict: the text is damaged.
        """
        try:
            recorded = json.loads(text)
            if isinstance(recorded, dict):
                recorded = {key: value for key, value in recorded.items() if key not in OF_THE_USER}
            return make_config(recorded)
        except (ValueError, RecursionError) as error:
            raise Conflict(f"the run recorded in the database is damaged: {error}; restore a backup") from None


def read_run_file(path: Path) -> dict[str, Any]:
    """The keys of a TOML run file, not validated yet.

    Raises:
        NotFound: there is no such file.
        UserError: the file is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no run file {str(path)!r}; give the path of a TOML file or leave it out") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the run file {str(path)!r}: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"run file {str(path)!r} is not valid TOML: {error}") from None


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """The run that these keys describe.

    Raises:
        UserError: a key is unknown or a value out of its bounds; the message names the key.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown_name("key in the run file", key, RunConfig.model_fields) from None
        if first["type"] == "tuple_type":
            raise UserError(without_passwords(f"{key}: give a list, such as [{first['input']!r}]")) from None
        said = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"].lower()
        given = repr(shown(first["input"])) if isinstance(first["input"], str) else repr(first["input"])
        raise UserError(without_passwords(f"{key}: {said}, got {given}")) from None
