"""URLs as Prisma writes them, translated to those of SQLAlchemy and libpq."""

from __future__ import annotations

import re
import warnings

from sqlalchemy.engine import URL

# Pools, caches and timeouts of Prisma's own: pharmdb uses one connection at a time.
_DROPPED = (
    *("connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size"),
    *("max_connection_lifetime", "max_idle_connection_lifetime", "single_use_connections", "uselibpqcompat"),
)
_TRANSLATED = ("schema", "sslaccept", "sslidentity")


def scheme(text: str) -> str:
    """The text with SQLAlchemy's scheme: `postgres:` is `postgresql:`, and `file:dev.db?…` is `sqlite:///dev.db`."""
    if text.startswith("file:"):
        path = text.removeprefix("file:").partition("?")[0]
        return "sqlite:///" + re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", path)
    return re.sub(r"^postgres(?=:|\+)", "postgresql", text)


def without_prisma(url: URL) -> URL:
    """The URL of PostgreSQL with libpq's parameters only; `schema` becomes the search path.

    Warns of `sslidentity`, for which libpq has no equivalent.
    """
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    prisma = query.keys() & {*_DROPPED, *_TRANSLATED}
    accept, schema = query.get("sslaccept"), query.get("schema")
    if "sslidentity" in query:
        warnings.warn(
            "sslidentity (PKCS #12) is ignored: make PEM files with openssl pkcs12, named as sslcert and sslkey",
            stacklevel=2,
        )
        query.pop("sslpassword", None)
    strict = accept == "strict"
    if prisma and "sslcert" in query and "sslkey" not in query:
        # For Prisma the server's certificate, for libpq the client's.
        certificate = query.pop("sslcert")
        query |= {"sslrootcert": certificate} if strict else {}
    if strict:
        query |= {"sslmode": "verify-full", "sslrootcert": query.get("sslrootcert", "system")}
    elif accept or query.get("sslmode") == "no-verify":
        query |= {"sslmode": "require"} if query.get("sslmode") == "no-verify" else {}
        # With a root certificate libpq would verify the server's.
        query.pop("sslrootcert", None)
    if schema:
        path = '-csearch_path="{}"'.format(schema.replace('"', '""'))
        path = path.replace("\\", "\\\\").replace(" ", "\\ ")
        query["options"] = f"{query.get('options', '')} {path}".strip()
    return url.set(query={name: value for name, value in query.items() if name not in prisma})
