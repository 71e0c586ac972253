"""The console's statements on PostgreSQL: they run in a role that has no right to a secret, and can't leave it."""

from __future__ import annotations

import secrets
from typing import Any

from pharmdb.database import targets
from pharmdb.errors import NoPermissionError, PharmdbError, ProtectedError
from pharmdb.studio_app import console_role, parameters, rights
from pharmdb.studio_app.console_role import Role
from pharmdb.studio_app.statement_log import MASKED, is_secret, mask_hashes
from pharmdb.studio_app.statements import Result, Typed

# The server forbids to change the role in a function with the rights of its owner, however deep SET ROLE or set_config
# are hidden. Its result is each row as text, and at last their number.
_FUNCTION = """
    CREATE FUNCTION {function} (statement text, returns boolean, writes boolean) RETURNS SETOF varchar
    LANGUAGE plpgsql SECURITY DEFINER AS $function$
    DECLARE
        line record;
        counted bigint := 0;
    BEGIN
        IF returns THEN
            FOR line IN EXECUTE statement LOOP
                counted := counted + 1;
                EXIT WHEN counted > {shown} AND NOT writes;
                IF counted <= {shown} THEN
                    RETURN NEXT line::text;
                END IF;
            END LOOP;
        ELSE
            EXECUTE statement;
            GET DIAGNOSTICS counted = ROW_COUNT;
        END IF;
        RETURN NEXT ROW(counted)::text;
    END $function$
"""
_BOOLEAN = 16
# bigint, smallint, integer, real, double precision, numeric; a domain is described as what it is made of.
_NUMBERS = (20, 21, 23, 700, 701, 1700)


def run(driver: Any, typed: Typed, *, plan: bool, writes: bool, seconds: float) -> Result:
    """Runs a statement, or with `plan` returns its plan.

    Raises ProtectedError for one that uses a secret or what only pharmdb's commands may change, NoPermissionError if
    the console's role can't be used.
    """
    import psycopg

    # The tokenizer assumes this setting.
    driver.execute("SET LOCAL standard_conforming_strings = on")
    role = console_role.prepared(driver, typed.target)
    if powerful := {token.name for token in typed.tokens} & role.powerful:
        raise ProtectedError(
            expected="no function that runs with the rights of its owner",
            found=", ".join(sorted(powerful)),
            note="use another statement",
        )
    try:
        return _result_of(driver, typed, role, plan=plan, writes=writes, seconds=seconds)
    except psycopg.errors.InsufficientPrivilege as error:
        raise _refused(error, typed, role) from error
    except psycopg.errors.ConnectionFailure as error:
        # The connection to the server itself is lost in other ways: this is the server's own message.
        raise NoPermissionError(
            expected=f"the workers of the cluster to let the role {role.name} in, in which the console runs statements",
            found=str(error.diag.message_primary),
            note="allow it in pg_hba.conf of each worker, or name its password in pg_dist_authinfo",
        ) from error
    except psycopg.Error as error:
        lines = filter(None, (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint))
        raise PharmdbError(
            expected="a valid statement",
            found=mask_hashes("\n".join(lines) or str(error)),
            note="correct the statement",
        ) from error


def _result_of(driver: Any, typed: Typed, role: Role, *, plan: bool, writes: bool, seconds: float) -> Result:
    from psycopg import sql
    from psycopg.types.composite import RecordLoader

    text = typed.text
    if typed.values:
        literals = {name: sql.Literal(value).as_string(driver) for name, value in typed.values.items()}
        text = parameters.with_literals(text, typed.tokens, literals)
        # What was allowed is still all that it says.
        rights.check(text, sqlite=False, unlocked=writes)
    statement = f"EXPLAIN {text}" if plan else text
    # "$user" on the search path is another schema in another role.
    driver.execute(
        "SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY n), true) "
        "FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, n)"
    )
    driver.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role.name)))
    # Its name can't be known to the statement.
    function = sql.SQL("pg_temp.{}").format(sql.Identifier(f"pharmdb_{secrets.token_hex(8)}"))
    driver.execute(sql.SQL(_FUNCTION).format(function=function, shown=typed.most))
    if not writes:
        _mask(driver, role)
        driver.execute("SET TRANSACTION READ ONLY")
    driver.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000) + 1000}")
    columns = _described(driver, statement)
    with driver.cursor() as cursor:
        cursor.adapters.register_loader("varchar", RecordLoader)
        cursor.execute(sql.SQL("SELECT {}(%s, %s, %s)").format(function), (statement, bool(columns), writes))
        *found, (counted,) = [row[0] for row in cursor]
    if writes:
        driver.execute(sql.SQL("DROP FUNCTION {}").format(function))
    # A single NULL has the text of an empty record.
    rows = [row or (None,) * len(columns) for row in found]
    if plan:
        return Result([], [], False, None, 0, "\n".join(str(row[0]) for row in rows))
    shown = [[_shown(*column, value) for column, value in zip(columns, row, strict=True)] for row in rows]
    changed = int(counted) if writes or not columns else None
    numeric = [type_ in _NUMBERS for _, type_ in columns]
    return Result([name for name, _ in columns], shown, int(counted) > typed.most, changed, 0, numeric=numeric)


def _mask(driver: Any, role: Role) -> None:
    """Puts a temporary view before each table with secrets, so that SELECT * works: unqualified names refer to it."""
    from psycopg import sql

    for relation in role.relations:
        if relation.own and relation.secrets:
            columns = sql.SQL(", ").join(
                sql.SQL("NULL::{} AS {}" if secret else "{1}").format(sql.SQL(type_), sql.Identifier(name))
                for name, type_, secret in relation.columns
            )
            view = sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT {} FROM {}")
            driver.execute(view.format(sql.Identifier(relation.name), columns, sql.SQL(relation.identifier)))


def _described(driver: Any, statement: str) -> list[tuple[str, int]]:
    """The columns that a statement returns, with their types; it is parsed, not run.

    A prepared statement can contain only one command.
    """
    from psycopg import errors, pq

    connection, encoding = driver.pgconn, driver.info.encoding
    result = connection.prepare(b"", statement.encode(encoding))
    if result.status == pq.ExecStatus.COMMAND_OK:
        result = connection.describe_prepared(b"")
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(result, encoding)
    return [((result.fname(n) or b"").decode(encoding), result.ftype(n)) for n in range(result.nfields)]


def _refused(error: Any, typed: Typed, role: Role) -> ProtectedError:
    names = {token.name for token in typed.tokens}
    secret = next((each for each in role.relations if each.secrets and each.name in names), None)
    readable = ", ".join(name for name, _, hidden in secret.columns if not hidden) if secret else ""
    return ProtectedError(
        expected=f"a statement within the rights of {role.name}: no secrets, no changes to the schema or the catalog",
        found=error.diag.message_primary,
        command=targets.command(typed.target, f"pharmdb studio --model {secret.name}") if secret else "",
        note=f"name the columns: SELECT {readable} FROM {secret.name}; passwords are set in the table view"
        if secret
        else "use another statement",
    )


def _shown(name: str, type_: int, value: str | None) -> str | None:
    # The masking view's NULL too: the secret is not NULL.
    if is_secret(name):
        return MASKED
    if value is None:
        return None
    if type_ == _BOOLEAN:
        return "true" if value == "t" else "false"
    return mask_hashes(value)
