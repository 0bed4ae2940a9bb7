"""torch's global state: neutralized in what is pinned, exactly as it was afterwards."""

import importlib.util
from pathlib import Path

import pytest
import torch

from heatproof.arithmetic import SETTINGS, neutralized, pinned

PAGE = Path(__file__).resolve().parents[1] / "docs" / "global_state.md"


def old_interface():
    return torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def everything():
    return [one.read() for one in SETTINGS], torch.get_num_threads(), torch.get_default_device()


@pytest.mark.parametrize("said", ["highest", "high", "medium"])
def test_the_precision_of_products_is_full_inside_and_the_users_own_afterwards(said):
    try:
        torch.set_float32_matmul_precision(said)
        before, old = everything(), old_interface()
        with pinned(1):
            assert old_interface() == ("highest", False, False)
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert everything() == before
        assert old_interface() == old  # the user's own getters answer as they did
    finally:
        torch.set_float32_matmul_precision("highest")


def test_what_was_said_by_the_new_interface_alone_comes_back_too():
    before = everything()
    with pinned(1):
        try:
            torch.backends.fp32_precision = "tf32"
            torch.backends.cuda.matmul.fp32_precision = "tf32"
            said = everything()
            with pinned(1):
                assert torch.backends.fp32_precision == "none"
                assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert everything() == said
            with pytest.raises(RuntimeError):  # torch's own refusal, as before
                torch.get_float32_matmul_precision()
        finally:
            torch.backends.fp32_precision = "none"
            torch.backends.cuda.matmul.fp32_precision = "ieee"
    assert everything() == before


def program():
    spec = importlib.util.spec_from_file_location("global_state", PAGE.with_suffix(".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
def test_no_part_of_torchs_global_state_changes_a_row_and_the_page_says_what_is_done_with_each():
    found = program().page()
    assert found == PAGE.read_text(encoding="utf-8")
    assert found.count("| neutralized |") >= 15
    assert found.count("| refused |") == 1  # autocast


def test_what_was_neutralized_is_named():
    torch.set_float32_matmul_precision("high")
    try:
        with pinned(1):
            assert neutralized() == {
                "the precision of float32 products": str(
                    ("none", "none", "none", "tf32", "tf32", "tf32", "tf32", "none", "none")
                )
            }
    finally:
        torch.set_float32_matmul_precision("highest")
    with pinned(1):
        assert neutralized() == {}
    assert neutralized() == {}


def test_an_interrupt_while_it_is_pinned_leaves_torch_as_it_was():
    torch.set_float32_matmul_precision("medium")
    said = everything()
    context = pinned(1, torch.float64)
    context.__enter__()
    assert torch.get_default_dtype() == torch.float64
    context.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert everything() == said
    torch.set_float32_matmul_precision("highest")
