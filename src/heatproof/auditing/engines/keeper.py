"""Ends what is left of a Ray cluster of ours when who began it is killed: a script that runs by itself.

    python keeper.py FOLDER SESSION

Its standard input is a pipe that the driver holds, and that ends with it; one that ends in order says so there. Most of
Ray ends by itself then; its agents stay, as they wait for a cluster that is gone. What is ended are the processes of
the driver's session that have files of the cluster's folder open: Ray writes over names and environments.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

ROUNDS = 20  # looks for processes, as some may just be starting


def holding(folder: Path, session: int) -> list[int]:
    """The processes of a session that have a file of this folder open."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError):  # it has ended, or is somebody else's
                process = int(place.name)
                if os.getsid(process) == session and any(_inside(file, folder) for file in (place / "fd").iterdir()):
                    found.append(process)
    return found


def _inside(file: Path, folder: Path) -> bool:
    try:
        return str(file.readlink()).startswith(f"{folder}/")
    except OSError:
        return False


def main(folder: Path, session: int) -> None:
    """Wait, then end them all, and take the folder away; nothing of it where the driver ends in order."""
    if sys.stdin.buffer.read():
        return
    for _ in range(ROUNDS):
        left = holding(folder, session)
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
