"""Put what a finished run says into `docs/results/<name>/`: the scorecard, the papers' effects and the spec.

    python examples/results.py RUN examples/mnist.toml

Every figure there comes from the rows of the run; none is typed in.
"""

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from heatproof.auditing.scorecard import findings
from heatproof.auditing.store import read_manifest, read_rows
from heatproof.report.effects import effects


def write(run: Path, spec: Path, docs: Path) -> Path:
    """Write `scorecard.csv`, `effects.csv` and `machine.csv` of a run beside a copy of its spec."""
    rows, manifest = read_rows(run), read_manifest(run)
    folder = docs / spec.stem
    folder.mkdir(parents=True, exist_ok=True)
    findings(rows, manifest).to_csv(folder / "scorecard.csv", index=False, float_format="%.4g")
    pd.DataFrame([asdict(effect) for effect in effects(rows, manifest)]).to_csv(folder / "effects.csv", index=False)
    machine = {
        "status": manifest["status"],
        "failures": len(manifest["failures"]),
        "samples": len(manifest["data"]["samples"]),
        "outputs": manifest["model"]["outputs"],
        "estimated seconds": round(manifest["estimate"]["seconds"]),
        **{key: manifest["environment"][key] for key in ("python", "torch", "device", "threads", "compute_batch")},
    }
    pd.Series(machine, name="value").rename_axis("what").to_csv(folder / "machine.csv")
    shutil.copy(spec, folder / "spec.toml")
    return folder


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parent.parent / "docs" / "results"))
