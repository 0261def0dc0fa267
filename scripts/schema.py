"""Write the report's JSON Schema from the classes that make a report: `schema.py FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from veilbox.orchestrate.report import report_schema

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(report_schema(), indent=2) + "\n", encoding="utf-8")
