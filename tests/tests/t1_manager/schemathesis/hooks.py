"""What schemathesis checks here besides its own: the manager never fails, and a call that is refused changes nothing.

Whether anything changed is read from the store's file, row by row, which sees more than any answer would tell.
"""

import atexit
import json
import os
import sqlite3

import schemathesis

STORE = sqlite3.connect(
    f"file:{os.environ['SLUICE_STORE']}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
)
# what the manager notes of machines, whatever anybody asks
BY_ITSELF = {"observations", "reports", "console_loads", "console_sessions", "found_configurations"}

calls = {"accepted": 0, "refused": 0}
last = {"version": None, "rows": None}


def rows():
    """Every row of the store; the same object as before when nobody wrote anything."""
    version = STORE.execute("PRAGMA data_version").fetchone()
    if version != last["version"]:
        STORE.execute("BEGIN")
        tables = [name for (name,) in STORE.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: STORE.execute(f"SELECT * FROM {name}").fetchall() for name in tables if name not in BY_ITSELF}
        STORE.execute("COMMIT")
        last.update(version=version, rows=found)
    return last["rows"]


before = {"rows": rows()}


@schemathesis.check
def the_manager_never_fails(ctx, response, case):
    """An appliance may be out of reach (502), the store busy (503), a pool exhausted (507): 500 is a mistake of ours."""
    assert response.status_code != 500, response.text


@schemathesis.check
def what_is_refused_changes_nothing(ctx, response, case):
    was, now = before["rows"], rows()
    before["rows"] = now
    if response.status_code < 400:
        calls["accepted"] += 1
        return
    calls["refused"] += 1
    changed = [] if was is now else [table for table in now if was.get(table) != now[table]]
    assert not changed, f"{response.status_code}, and yet these changed: {', '.join(changed)}: {response.text}"


@atexit.register
def count():
    with open(os.environ["SLUICE_COUNT"], "w") as file:
        json.dump(calls, file)
