"""A database URL is shown without its password, however it is written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.url import database_path, is_postgresql, shown
from search_spaces.errors import UserError

CANARY = "canary"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:canary@host:5432/nas", "postgresql://me:***@host:5432/nas"),
        ("postgres://me:canary@host/nas?sslmode=require", "postgres://me:***@host/nas?sslmode=require"),
        ("postgresql://me@host/nas", "postgresql://me@host/nas"),
        ("postgresql://host:5432/nas", "postgresql://host:5432/nas"),
        ("postgresql://me:can@ary@host/nas", "postgresql://me:***@host/nas"),
        ("postgresql://me:can/canary@host/nas", "postgresql://me:***@host/nas"),
        ("postgresql://me@corp:canary@host/nas", "postgresql://me@corp:***@host/nas"),
        ("postgresql://me:canary?x@host/nas", "postgresql://me:***@host/nas"),
        ("postgresql://m/e:canary@host/nas", "postgresql://m/e:***@host/nas"),
        ("postgresql:///nas?user=me&password=canary&host=/run", "postgresql:///nas?user=me&password=***&host=/run"),
        ("postgresql://host/nas?SSLPassword=canary", "postgresql://host/nas?SSLPassword=***"),
        ("postgresql://host/nas?pass%77ord=canary", "postgresql://host/nas?pass%77ord=***"),
        ("mysql://me:canary@host/nas", "mysql://me:***@host/nas"),
        ("nas.db", "nas.db"),
        ("a:b@c.db", "a:b@c.db"),
        ("sqlite:///nas.db", "sqlite:///nas.db"),
    ],
)
def test_shown(url: str, expected: str) -> None:
    assert shown(url) == expected
    assert CANARY not in shown(url)
    assert shown(shown(url)) == shown(url)


@given(password=st.text().map(lambda text: f"canary{text}canary"), user=st.text(st.characters(exclude_characters=":")))
def test_no_password_is_shown(password: str, user: str) -> None:
    assert CANARY not in shown(f"postgresql://{user.replace(CANARY, '')}:{password}@host/nas")


def test_which_engine() -> None:
    assert is_postgresql("postgresql://host/nas")
    assert is_postgresql("postgres:///nas")
    for file in ("postgresql", "postgresql:/nas", "sqlite:///postgresql", "postgresql.db", "mysql://host/nas"):
        assert not is_postgresql(file)


def test_path() -> None:
    assert database_path("sqlite:///a b.db") == database_path("a b.db") == Path("a b.db")
    with pytest.raises(UserError) as caught:
        database_path("mysql://me:canary@host/nas")
    assert CANARY not in str(caught.value)
