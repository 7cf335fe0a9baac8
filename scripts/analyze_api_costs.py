#!/usr/bin/env python3
"""What a workspace's model calls have cost: `fibreflow costs`, from a fresh checkout.

python scripts/analyze_api_costs.py [--workspace DIR] [--csv FILE] [--png FILE] [--json]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # not installed

from harness.runner import main

if __name__ == "__main__":
    sys.exit(main(["costs", *sys.argv[1:]]))
