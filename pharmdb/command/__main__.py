"""`python -m pharmdb.command`."""

import sys

# With -m Python puts the caller's folder first, where a file may be named like a library.
if not sys.flags.safe_path:
    del sys.path[0]

from pharmdb.command.program import main

sys.exit(main())
