"""Events per second of ``nuadapt simulate``, the file written to disk included, for 1 and 2 workers.

Claims at the default spectrum: ``lartpc`` at least 25 events per second and core, under 1.5 GB per worker; ``minerva``
at least 1,500 events per second and core.

    python benchmarks/simulate.py [lartpc | minerva] [--events 600]

Each measurement is a process of its own with one numeric thread per worker; numba's compiled code is cached
by a short run before. Start-up (imports, tables) is inside the measured time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Claimed events per second and core.
LEAST = {"lartpc": 25, "minerva": 1500}
_RUN = """
import resource, sys
from pathlib import Path
from nuadapt.sources.simulation.lartpc import LArTPCConfig
from nuadapt.sources.simulation.minerva.config import MinervaConfig
from nuadapt.sources.simulation.run import SimulationPlan, simulate

if __name__ == "__main__":
    config = LArTPCConfig() if sys.argv[4] == "lartpc" else MinervaConfig()
    simulate(SimulationPlan(config, 1, int(sys.argv[2]), workers=int(sys.argv[3])), Path(sys.argv[1]))
    mine, children = (resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(max(mine, children) / 1e3)
"""


def measure(kind: str, events: int, workers: int, folder: Path) -> tuple[float, float, float]:
    """Events per second, peak memory of the largest process in MB, file size in kB per event."""
    script, out = folder / "run.py", folder / f"{events}-{workers}.h5"
    script.write_text(_RUN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    start = time.perf_counter()
    command = [sys.executable, str(script), str(out), str(events), str(workers), kind]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    return events / seconds, float(done.stdout), out.stat().st_size / 1e3 / events


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=sorted(LEAST), default="lartpc")
    parser.add_argument("--events", type=int, default=600)
    given = parser.parse_args()
    kind, events = given.kind, given.events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(kind, 32, 1, folder)  # compiles
        rates = {}
        for workers in (1, 2):
            rate, memory, size = measure(kind, events * workers, workers, folder)
            rates[workers] = rate
            print(f"{workers} worker(s): {rate:6.1f} events/s, {memory:6.0f} MB at most, {size:.0f} kB per event")
        print(
            f"scaling from 1 to 2 workers: {rates[2] / rates[1]:.2f}; claim: at least {LEAST[kind]} events/s per core"
        )


if __name__ == "__main__":
    main()
