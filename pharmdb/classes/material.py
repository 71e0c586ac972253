"""What the items are about: a catalogue joins each question, case and calculation to its block and tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.learning.catalogue import Catalogue, Entity, read


class Key(NamedTuple):
    """An item: its type, and its id."""

    kind: str
    id: str


@dataclass(frozen=True)
class Material:
    """The catalogue's entities by key, and the keys that the report is restricted to: a type, or a set of items."""

    catalogue: Catalogue
    entities: dict[Key, Entity]
    kinds: tuple[str, ...]
    items: frozenset[Key] | None

    @property
    def kinds_condition(self) -> str:
        """SQL for the types that count."""
        return f"entity_type IN ({', '.join(repr(kind) for kind in self.kinds)})"

    def takes(self, key: Key) -> bool:
        """Whether an item counts."""
        return key.kind in self.kinds if self.items is None else key in self.items


def find(target: targets.Target, folder: str | Path, module: str, block: str, all_kinds: tuple[str, ...]) -> Material:
    """Reads the catalogue. Raises ParameterError if it has no such module or block; CatalogueError."""
    catalogue = read(folder)
    entities = {Key(entity.kind, entity.id): entity for entity in catalogue.entities}
    kinds = all_kinds
    if module:
        kinds = tuple(kind for kind in all_kinds if catalogue.modules.get(kind) == module)
        _require(target, "module", module, sorted(set(catalogue.modules.values())), bool(kinds))
    items = None
    if block:
        _require(target, "block", block, list(catalogue.blocks), block in catalogue.blocks)
        items = frozenset(key for key, entity in entities.items() if entity.block == block and key.kind in kinds)
    return Material(catalogue, entities, kinds, items)


def _require(target: targets.Target, name: str, value: str, there: list[str], known: bool) -> None:
    if not known:
        raise ParameterError(
            expected=f"{name} as one of the catalogue's: {', '.join(there)}",
            found=f"{name}={value!r}",
            command=targets.command(target, "pharmdb class"),
            note="for another course, name the folder of its catalogue with --catalogue",
        )
