"""The SQL of the store, built once: building a statement costs more than SQLite needs to run it.

Parameters: `in_search` is the name of a search, `at_number` and `at_proposal` say which of its trials.
"""

from sqlalchemy import bindparam, func, insert, select, update

from db.schema import architectures, measurements, searches, trials
from db.trial import TrialState

SEARCHES = select(searches).order_by(searches.c.id)
SEARCH_NAMES = select(searches.c.name)
SEARCH = select(searches).where(searches.c.name == bindparam("in_search"))
SEARCH_ID = select(searches.c.id).where(searches.c.name == bindparam("in_search"))
# Locks the search to the end of the transaction, where the engine does not lock everything anyway. Not against those
# who only refer to it, as every new trial does.
LOCKED_SEARCH = SEARCH.with_for_update(key_share=True)
UPDATE_SEARCH = update(searches).where(searches.c.name == bindparam("in_search"))
STATE_COUNTS = select(trials.c.search_id, trials.c.state, func.count()).group_by(trials.c.search_id, trials.c.state)

_of_search = trials.c.search_id == SEARCH_ID.scalar_subquery()
_at_number = trials.c.number == bindparam("at_number")
_at_proposal = trials.c.proposal == bindparam("at_proposal")
_is_running = trials.c.state == TrialState.RUNNING.value
_is_open = (trials.c.state == TrialState.WAITING.value) | _is_running

INSERT_TRIAL = insert(trials)
START_TRIAL = update(trials).where(_of_search, _at_number, _is_open)
UPDATE_OPEN_TRIAL = update(trials).where(_of_search, _at_proposal, _is_open)
RETURN_TRIALS = update(trials).where(_of_search, _is_running)
UPDATE_NUMBER = update(trials).where(_of_search, _at_number)

TRIAL = select(trials).where(_of_search, _at_number)
PROPOSED_TRIAL = select(trials).where(_of_search, _at_proposal)
ADMITTED_TRIALS = select(trials).where(_of_search, trials.c.number.is_not(None)).order_by(trials.c.number)
ALL_TRIALS = select(trials).where(_of_search).order_by(trials.c.proposal)
OBSERVED_TRIALS = select(trials).where(_of_search, trials.c.observed.is_not(None)).order_by(trials.c.observed)
WEIGHTS_IN_USE = select(trials.c.proposal).where(trials.c.weights_sha256 == bindparam("sha256")).limit(1)
REJECTED_COUNT = select(func.count()).select_from(trials).where(_of_search, trials.c.number.is_(None))

INSERT_MEASUREMENT = insert(measurements).values(search_id=SEARCH_ID.scalar_subquery())
MEASUREMENTS = (
    select(measurements)
    .join(trials, (trials.c.search_id == measurements.c.search_id) & (trials.c.proposal == measurements.c.proposal))
    .where(_of_search, _at_number)
    .order_by(measurements.c.epoch)
)

_anywhere = select(trials, searches.c.name.label("search_name")).join(searches, searches.c.id == trials.c.search_id)
_of_architecture = trials.c.architecture_key == bindparam("key")

HISTORY = _anywhere.where(_of_architecture).order_by(trials.c.search_id, trials.c.proposal)
KNOWN = (
    _anywhere.where(
        _of_architecture,
        trials.c.evaluation_key == bindparam("evaluation_key"),
        trials.c.state == TrialState.COMPLETE.value,
        trials.c.reused_search.is_(None),
    )
    .order_by(trials.c.finished_at, trials.c.search_id, trials.c.proposal)
    .limit(1)
)

ARCHITECTURES = select(architectures).where(architectures.c.key.in_(bindparam("keys", expanding=True)))
ARCHITECTURES_BETWEEN = (
    select(architectures)
    .where(architectures.c.key >= bindparam("first"), architectures.c.key < bindparam("beyond"))
    .order_by(architectures.c.key)
    .limit(4)
)
