"""`python -m kafka_esm`."""

import sys

from kafka_esm.cli import main

if __name__ == "__main__":
    sys.exit(main())
