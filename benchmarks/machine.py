"""Says on what machine and on which day a figure was measured, in one way for every script here."""

import datetime
import os
import platform
from pathlib import Path
from typing import Any


def cpu_model() -> str:
    """The name of the processor, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def machine_line() -> str:
    """The same as one line to stand above the figures."""
    found = machine()
    return (
        f"{found['date']}, {found['cpu']}, {found['cores']} cores, load {found['load_average']}, "
        f"{found['platform']}, Python {found['python']}"
    )
