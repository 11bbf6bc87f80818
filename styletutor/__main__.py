"""`python -m styletutor`, the same as the command `styletutor`."""

import sys

if __name__ == "__main__":
    try:
        from styletutor.cli import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
