"""The line of .env: whatever the URL contains, the application reads the same URL from it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import URL
from support.trainer import modules

from pharmdb.application import client
from pharmdb.database import targets

# Node and dotenv, as Prisma uses it, read .env each in its own way; the driver of the adapter takes the URL apart.
READERS = """
const { parseEnv } = require("node:util");
const dotenv = require("dotenv");
const connection = require("pg-connection-string");
const read = (text) => {
  const url = dotenv.parse(text).DATABASE_URL;
  const { user, password, host, port, database } = connection.parse(url.replace(/^file:.*/s, "/"));
  return { urls: [parseEnv(text).DATABASE_URL, url], connection: [user, password, host, port, database] };
};
console.log(JSON.stringify(JSON.parse(require("node:fs").readFileSync(0, "utf8")).map(read)));
"""
HARD = ["'", '"', "`", "\\", "\\n", "#", " #", "$", "$HOME", "${HOME}", "%", "%24", "=", "é", "&", "+"]
NAMES = ["a" + "b".join(HARD[3:]) + "c", *(f"a{hard}b" for hard in HARD), "a'\"b", "a'`\\b", "a'\"`b$"]


def read_in_node(environments: list[str]) -> list[dict[str, Any]]:
    """For each .env its URL as Node and as dotenv read it, and what the adapter's driver connects to."""
    environ = os.environ | {"NODE_PATH": str(modules(6))}
    texts = json.dumps(environments)
    done = subprocess.run(["node", "-e", READERS], input=texts, env=environ, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_the_path_in_the_environment_is_read_as_it_is() -> None:
    paths = [f"/some where/{name}/pharm.db" for name in NAMES]
    texts = [client.environment(targets.of_file(path)) for path in paths]
    assert [found["urls"] for found in read_in_node(texts)] == [[f"file:{path}"] * 2 for path in paths]
    assert [("$" in path) for path in paths] == [text.startswith("#") for text in texts]


def test_user_password_and_database_in_the_environment_are_read_as_they_are() -> None:
    names = [(name, f"p{name}", "db.example.test", "5433", name.replace("#", "")) for name in NAMES]
    texts = []
    for user, password, host, port, database in names:
        url = URL.create("postgresql", user, host=host, port=int(port), database=database)
        text = client.environment(targets.Target(url))
        texts.append(text.replace(f"@{host}", f":{quote(password, safe='')}@{host}"))
    assert [tuple(found["connection"]) for found in read_in_node(texts)] == names
