"""The example audits on real data, as their specs stand. Hours on a busy machine: run by `make test-all`."""

from dataclasses import replace
from pathlib import Path

import pytest

import heatproof as hp
from heatproof.auditing.from_spec import run
from heatproof.auditing.spec import read

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.data]


def test_mnist_with_the_cnn_of_adebayo(data_folder: Path, tmp_path: Path) -> None:
    assert hp.zoo.mnist_cnn_trained().test_accuracy >= 0.99
    finished = run(read(EXAMPLES / "mnist.toml"), tmp_path, progress=False)
    manifest = finished.manifest
    assert (manifest["status"], manifest["failures"]) == ("complete", [])
    assert (manifest["model"]["outputs"], len(manifest["data"]["samples"])) == (10, 128)
    cgi = finished.rows().query("method == 'cgi' and metric == 'surviving-share'")
    assert cgi.groupby("setting").position.nunique().to_dict() == {
        "cascading he": 5,
        "cascading truncated-normal": 5,
        "independent truncated-normal": 5,
    }
    assert finished.report().stat().st_size > 100_000


def test_squeezenet_with_competition_among_1000_labels(data_folder: Path, tmp_path: Path) -> None:
    finished = run(read(EXAMPLES / "squeezenet.toml"), tmp_path, progress=False)
    manifest = finished.manifest
    assert (manifest["status"], manifest["failures"]) == ("complete", [])
    assert manifest["model"]["outputs"] == 1000
    rows = finished.rows()
    edges = rows.query("method == 'edge-detector' and metric == 'spearman' and setting == 'cascading he'")
    assert len(edges) == 3 * 5  # stages × images
    assert (edges.value == 1.0).all()
    assert finished.report().exists()


@pytest.mark.filterwarnings("ignore:.*are longer than 500 tokens")
def test_reviews_with_the_perceptron_of_ancona(data_folder: Path, tmp_path: Path) -> None:
    """003's finding 6: on a network this shallow all methods are as good as occlusion, for every number of words."""
    spec = read(EXAMPLES / "imdb.toml")
    finished = run(replace(spec, data=replace(spec.data, limit=4)), tmp_path, progress=False)
    assert (finished.manifest["status"], finished.manifest["failures"]) == ("complete", [])
    found = finished.rows().query("check == 'sensitivity-n'").groupby("method").value.mean()
    for method in ("gradient-x-input", "integrated-gradients", "deeplift", "lrp-epsilon", "occlusion"):
        assert found[method] > 0.99
    assert abs(found["random"]) < 0.2
    assert "The texts themselves" in finished.report().read_text()
