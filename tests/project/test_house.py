"""How the package is built, read from its source: arrows go one way, private names stay at home, files are short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pharmdb

PACKAGE = Path(pharmdb.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# From the ground up: a package or module imports only what stands in a line above its own.
ORDER = (
    ("types", "errors", "progress", "csv_faults", "plain_table"),
    ("arguments", "csv_cells", "csv_marks"),
    ("models", "settings", "reports", "csv_reading"),
    ("database",),
    ("schema",),
    ("cluster",),
    ("backups", "learning"),
    ("distribution",),
    ("migration", "seeding", "cohorts", "application", "exporting"),
    ("accounts", "classes"),
    ("doctor", "studio_app"),
    ("legacy",),
    ("command",),
)
LONGEST = 400


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[tuple[str, str, str]]:
    """Every import of pharmdb's in a module, wherever it stands: (the module, the name or "", what it is called)."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((a.name, "", a.asname or a.name) for a in node.names if a.name.split(".")[0] == "pharmdb")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports by dots"
            for alias in node.names if (node.module or "").split(".")[0] == "pharmdb" else ():
                whole = f"{node.module}.{alias.name}"
                called = alias.asname or alias.name
                yield (whole, "", called) if whole in MODULES else (str(node.module), alias.name, called)


def arrows(rooms: bool) -> dict[str, set[str]]:
    """Who imports whom: modules, or with `rooms` the packages and modules of the top level."""

    def place(module: str) -> str:
        return module.split(".")[1] if rooms else module

    found: dict[str, set[str]] = {}
    for module in MODULES:
        if module != "pharmdb":
            imported = {place(target) for target, _, _ in imports(module) if target != "pharmdb"}
            found.setdefault(place(module), set()).update(imported - {place(module)})
    return found


@pytest.mark.parametrize("rooms", [False, True], ids=["modules", "packages"])
def test_there_is_no_circle(rooms: bool) -> None:
    try:
        TopologicalSorter(arrows(rooms)).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_arrows_go_down_only() -> None:
    level = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
    found = arrows(rooms=True)
    assert found.keys() == level.keys(), "every package has its place in ORDER"
    wrong = [
        f"{room} imports {other}" for room, others in found.items() for other in others if level[other] >= level[room]
    ]
    assert wrong == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("module", MODULES)
def test_no_private_name_leaves_its_module(module: str) -> None:
    imported = list(imports(module))
    assert [f"{target}.{name}" for target, name, _ in imported if is_private(name)] == []
    modules = {called for _, name, called in imported if not name}
    reached = [
        f"line {node.lineno}: {node.value.id}.{node.attr}"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in modules and is_private(node.attr)
    ]
    assert reached == []


# What looks private and is public: os._exit, named tuples' methods, IPython's hooks for rich output.
PUBLIC = {"_exit", "_make", "_asdict", "_replace", "_fields", "_repr_html_", "_repr_mimebundle_", "_render_traceback_"}


@pytest.mark.parametrize("module", MODULES)
def test_no_private_name_of_anybody_else_is_used(module: str) -> None:
    """Names of libraries, too. A module's own classes may use each other's."""
    own = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    reached = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in PUBLIC | own
        if not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super")
    ]
    assert reached == []


def test_no_module_is_named_like_a_public_function() -> None:
    """`import pharmdb.x` would put the module in the place of the function."""
    names = {part for module in MODULES for part in module.split(".")[1:]}
    assert names & set(pharmdb.__all__) == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_file_can_be_read_in_one_sitting(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_type_checkers_see_the_public_names_where_they_are() -> None:
    (guarded,) = (
        node for node in tree("pharmdb").body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = [
        (alias.name, node.module, alias.asname)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    found = {name: getattr(pharmdb, name).__module__ for name in pharmdb.__all__ if name != "__version__"}
    assert {name: module for name, module, _ in seen} == found
    assert all(name == again for name, _, again in seen), "without `as` a type checker takes it for private"
    assert pharmdb.__all__ == sorted(pharmdb.__all__) == pharmdb.__dir__()
