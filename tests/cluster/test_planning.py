"""The plan onto a cluster and back, for plain, half and fully distributed catalogues: no cluster is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmdb.cluster import planning
from pharmdb.cluster.planning import EVERYTHING, WRITING, Table
from pharmdb.models import MODELS

PLAIN = [Table(m.__tablename__, planning.named(m.__tablename__), rows=5, mib=2.0) for m in MODELS]
SHARDED = [table for table in PLAIN if table.is_sharded]
WHOLE = [replace(table, placed=table.placement, key=table.key_there) for table in PLAIN]


def test_a_plain_database_is_distributed_by_these_statements() -> None:
    assert [step.statement for step in planning.forward(PLAIN)] == [
        *(
            f"ALTER TABLE {name} {change} CONSTRAINT pk_{name}{key}"
            for name in ("user_settings", "bookmarks", "attempts", "progress_by_tag", "spaced_repetition_items")
            for change, key in (("DROP", ""), ("ADD", " PRIMARY KEY (id, user_id)"))
        ),
        "SELECT create_reference_table('users')",
        "SELECT create_reference_table('dataset_overrides')",
        "SELECT create_distributed_table('user_settings', 'user_id', colocate_with => 'none')",
        *(
            f"SELECT create_distributed_table('{name}', 'user_id', colocate_with => 'user_settings')"
            for name in ("bookmarks", "attempts", "progress_by_tag", "spaced_repetition_items")
        ),
        *(
            f"SELECT truncate_local_data_after_distributing_table('{name}')"
            for name in (
                *("user_settings", "bookmarks", "attempts", "progress_by_tag", "spaced_repetition_items"),
                *("dataset_overrides", "users"),
            )
        ),
    ]


def test_the_way_back_is_one_call_and_the_old_keys() -> None:
    steps = planning.back(WHOLE)
    assert [step.statement for step in steps] == [
        "SELECT undistribute_table('users', cascade_via_foreign_keys => true)",
        *(
            f"ALTER TABLE {name} {change} CONSTRAINT pk_{name}{key}"
            for name in ("user_settings", "bookmarks", "attempts", "progress_by_tag", "spaced_repetition_items")
            for change, key in (("DROP", ""), ("ADD", " PRIMARY KEY (id)"))
        ),
    ]
    assert (steps[0].rows, steps[0].locks) == (35, EVERYTHING)


def test_where_everything_is_done_nothing_is_left() -> None:
    assert planning.forward(WHOLE) == []
    assert planning.back(PLAIN) == []


def test_a_half_distributed_database_gets_what_it_lacks() -> None:
    """A new table of a later revision, and one whose rows are still on the coordinator."""
    half = [replace(t, placed="") if t.name == "bookmarks" else replace(t, remains=t.name == "users") for t in WHOLE]
    assert [step.statement for step in planning.forward(half)] == [
        "SELECT create_distributed_table('bookmarks', 'user_id', colocate_with => 'user_settings')",
        "SELECT truncate_local_data_after_distributing_table('bookmarks')",
        "SELECT truncate_local_data_after_distributing_table('users')",
    ]


def test_a_step_says_what_it_keeps_others_from_and_what_it_needs() -> None:
    steps = planning.forward(PLAIN, workers=3)
    assert steps[10][1:] == ("users", 5, WRITING, 6.0)
    assert sum(step.growth_mib for step in steps if "attempts" in step.statement) == 0.0


def after(tables: list[Table], *, back: bool = False) -> list[Table]:
    """What the statements make of the tables, as far as the plan looks at them."""
    if back:
        return [replace(table, placed="", key=("id",), remains=False) for table in tables]
    return [replace(table, placed=table.placement, key=table.key_there, remains=False) for table in tables]


def state(table: Table, placed: bool, swapped: bool, remains: bool, rows: int) -> Table:
    return replace(
        table,
        placed=table.placement if placed else "",
        key=table.key_there if placed or swapped else ("id",),
        remains=placed and remains,
        rows=rows,
    )


STATES = st.tuples(
    *(
        st.builds(state, st.just(table), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 9))
        for table in PLAIN
    )
).map(list)


@given(STATES)
@pytest.mark.parametrize("back", [False, True])
def test_from_every_state_a_plan_ends_and_comes_to_nothing_the_second_time(back: bool, tables: list[Table]) -> None:
    plan = planning.back if back else planning.forward
    steps = plan(tables)
    assert len({step.statement for step in steps}) == len(steps)
    assert plan(after(tables, back=back)) == []
    touched = {name for step in steps for name in step.table.split(", ")}
    changed = {t.name for t, now in zip(tables, after(tables, back=back), strict=True) if t != now}
    assert touched == changed


@given(STATES)
def test_shards_refer_to_tables_that_are_there_already(tables: list[Table]) -> None:
    statements = [step.statement for step in planning.forward(tables)]
    kinds = [statement.split("(")[0].split()[1] for statement in statements]
    order = [
        "TABLE",
        "create_reference_table",
        "create_distributed_table",
        "truncate_local_data_after_distributing_table",
    ]
    assert kinds == sorted(kinds, key=order.index)
