"""`python -m pharmdb.command`."""

import sys

from pharmdb.command.program import main

sys.exit(main())
