"""JSON documents with exact numbers, and the many texts of each."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)

# A document as a tree whose numbers are exact: ("number", digits, exponent), without zeros at the digits' end.
Tree = Any


def number(digits: int, exponent: int) -> Tree:
    while digits and digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    return ("number", digits, exponent if digits else 0)


def render(tree: Tree, random: Random) -> str:
    """One of the many JSON texts of this tree."""
    space = random.choice(["", "", " ", "\n\t"])
    if isinstance(tree, tuple):
        return space + render_number(tree[1], tree[2], random) + space
    if isinstance(tree, dict):
        items = list(tree.items())
        random.shuffle(items)
        inside = ",".join(f"{render(key, random)}:{render(value, random)}" for key, value in items)
        return f"{space}{{{inside}}}{space}"
    if isinstance(tree, list):
        return f"{space}[{','.join(render(item, random) for item in tree)}]{space}"
    if isinstance(tree, str):
        shown = json.dumps(tree, ensure_ascii=random.random() < 0.5)
        if "\\" not in shown:
            shown = random.choice([shown, shown.replace("/", "\\/"), shown.replace("a", "\\u0061")])
        return space + shown + space
    return space + json.dumps(tree) + space


def render_number(digits: int, exponent: int, random: Random) -> str:
    sign, plain = ("-", str(-digits)) if digits < 0 else (random.choice(["", "-"]) if not digits else "", str(digits))
    e = random.choice(["e", "E"])
    plus = random.choice(["+", ""])

    def power(n: int) -> str:
        return f"{e}{plus if n >= 0 else ''}{n}"

    forms = [plain + power(exponent), f"{plain}.0{power(exponent)}"]
    if digits:
        forms.append(f"{plain}00{power(exponent - 2)}")
    if len(plain) > 1:
        forms.append(f"{plain[0]}.{plain[1:]}{power(exponent + len(plain) - 1)}")
    if 0 <= exponent < 500:
        forms += [plain + "0" * exponent, plain + "0" * exponent + ".00"] if plain != "0" else ["0", "0.0", "0e5"]
    if -500 < exponent < 0:
        padded = plain.rjust(1 - exponent, "0")
        forms.append(f"{padded[:exponent]}.{padded[exponent:]}")
    return sign + random.choice(forms)


STRINGS = st.sampled_from(["", "a", "1", "1E400", "0", "č", "🐎", 'q"\\/\n', "null", "\x7f\u2028"]) | TEXT
NUMBERS = st.builds(
    number,
    st.sampled_from([0, 1, -1, 15, 10**15 + 1, 10**16 + 1, 2**53 + 1, 10**400 + 1]) | st.integers(-(10**25), 10**25),
    st.sampled_from([0, 1, -1, 20, 299, 300, 301, 400, 401, -300, -324, -400, -401]) | st.integers(-40, 40),
)
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=8,
)
RANDOMS = st.integers(0, 2**32).map(Random)
