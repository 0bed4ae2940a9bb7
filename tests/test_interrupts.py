"""The model comes back, whatever interrupts: every way back is whole, and the interrupt comes after it."""

import os
import signal
import threading
import warnings
from collections import Counter

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import intact as intact_module
from heatproof import state
from heatproof.checks.swapping import swapped, tensors_of
from heatproof.data.base import Dataset
from heatproof.errors import HeatproofWarning
from heatproof.intact import intact
from heatproof.methods.base import METHODS
from heatproof.methods.split import Split
from heatproof.randomization import RANDOMIZATIONS, stages
from heatproof.undo import Undoing, hooked, undone
from interrupts import damaged, everything

X = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1])
MANY = torch.rand(16, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def network(*, norm=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norms = [nn.BatchNorm2d(4)] if norm else []
        convs = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *norms, nn.ReLU())
        return nn.Sequential(convs, nn.Flatten(), nn.Linear(4 * 144, 64), nn.ReLU(), nn.Linear(64, 4)).eval()


def breaking_off(function, times=1):
    """`function`, which is interrupted in the middle: done by half, and raised; so many times."""
    left = [times]

    def broken(pairs):
        if left[0]:
            left[0] -= 1
            function(pairs[: len(pairs) // 2])
            raise KeyboardInterrupt
        return function(pairs)

    return broken


def test_weights_come_back_when_putting_them_back_is_interrupted(monkeypatch):
    net = network()
    stage = RANDOMIZATIONS.get("cascading").stages(net, X)[-1]
    before = everything(net)
    stage.__enter__()
    assert everything(net) != before
    monkeypatch.setattr(stages, "_write", breaking_off(stages._write, times=3))
    with pytest.raises(KeyboardInterrupt):
        stage.__exit__(None, None, None)
    assert everything(net) == before
    with stage:  # and it can be entered again
        assert everything(net) != before
    assert everything(net) == before


def test_weights_come_back_when_putting_the_random_ones_in_is_interrupted(monkeypatch):
    net = network()
    stage = RANDOMIZATIONS.get("cascading").stages(net, X)[-1]
    before = everything(net)
    monkeypatch.setattr(stages, "_write", breaking_off(stages._write))
    with pytest.raises(KeyboardInterrupt), stage:
        pytest.fail("it was not entered")
    assert everything(net) == before


@pytest.fixture
def _python_hears():
    """Python's own handler: a process that was started in the background may ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_python_hears")
def test_a_signal_on_the_way_back_waits_for_its_end():
    done = []

    def undo():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # Python would handle it here
            pass
        done.append(True)

    with pytest.raises(KeyboardInterrupt), undone(undo):
        pass
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_python_hears")
def test_in_another_thread_no_signal_is_touched():
    found = []

    def work():
        with undone(lambda: found.append(signal.getsignal(signal.SIGINT))):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_what_an_interrupt_kept_from_being_left_is_undone_by_the_next_one_around_it():
    log = []
    outer = undone(lambda: log.append("outer")).__enter__()
    undone(lambda: log.append("inner")).__enter__()  # its __exit__ never begins
    outer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert log == ["inner", "outer"]


def test_an_error_inside_leaves_what_others_have_entered_meanwhile():
    log = []
    outer, other = undone(lambda: log.append("outer")), undone(lambda: log.append("other"))
    outer.__enter__()
    other.__enter__()
    outer.__exit__(ValueError, ValueError(), None)
    assert log == ["outer"]
    other.__exit__(None, None, None)
    assert log == ["outer", "other"]


def test_a_way_back_that_always_fails_says_so():
    class Broken(Undoing):
        tries = 0

        def _undo(self):
            self.tries += 1
            raise OSError("no way")

    broken = Broken()
    with pytest.raises(OSError, match="no way"), broken:
        pass
    assert broken.tries == 8


def test_forward_of_submodules_comes_back(monkeypatch):
    net, before = network(), everything(network())
    split = Split(net, "0")
    z = split.below(X)
    assert everything(net) == before
    own = net[2].forward
    monkeypatch.setitem(vars(net[2]), "forward", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    inside = everything(net)
    with pytest.raises(KeyboardInterrupt):
        split.above(z, X)
    assert everything(net) == inside
    monkeypatch.delitem(vars(net[2]), "forward")
    assert net[2].forward == own


def test_hooks_are_taken_off_though_nobody_knows_their_handles():
    net, before = network(), everything(network())
    looked = []
    settings = {"before": True, "with_kwargs": True}
    with pytest.raises(KeyboardInterrupt), hooked((net[2], lambda *_: None, {}), (net[0], looked.append, settings)):
        raise KeyboardInterrupt
    assert everything(net) == before


def test_an_audit_that_is_interrupted_leaves_the_model_as_it_was(tmp_path, monkeypatch):
    net, before = network(), everything(network())

    def method(model, inputs, targets):
        model[4].weight.data.fill_(0)
        model.train()
        model.note = torch.ones(2)
        model[0].register_forward_hook(lambda *_: None)
        raise KeyboardInterrupt

    monkeypatch.setattr("heatproof.auditing.traces._Before.restored", lambda self: [])  # the nearer way back fails
    with pytest.raises(KeyboardInterrupt) as caught:
        hp.audit(net, X, methods={"mine": method}, checks=["input-controls"], out=tmp_path / "run", progress=False)
    assert everything(net) == before
    assert not getattr(caught.value, "__notes__", [])


def test_what_cannot_be_put_back_is_named(monkeypatch):
    monkeypatch.setattr(state, "COPIED", 0)  # as if the parameters were too large to copy
    net = network()
    kept, error = intact(net).__enter__(), KeyboardInterrupt()
    net[4].bias.data += 1
    with pytest.warns(HeatproofWarning, match="could not be put back"):
        kept.__exit__(KeyboardInterrupt, error, None)
    assert error.__notes__ == [
        "parameter '4.bias' of the model could not be put back as before the audit; load the model again."
    ]


def test_left_without_an_error_nothing_is_looked_at(monkeypatch):
    monkeypatch.setattr(intact_module, "_digest", lambda _: pytest.fail("it was looked at"))
    with intact(network()):
        pass


def calls():
    """What changes a model for a while: by name, how the model and the call are made."""

    def method(name):
        def make():
            recipe, net = METHODS.get(name), network(norm=not name.startswith("pattern"))
            if getattr(recipe, "fitted", 0) is None:
                labels = torch.arange(16) % 4
                recipe = recipe.fit(net, [(MANY, labels)] if "readout" in name else [MANY])
            return net, lambda: recipe(net, X, TARGETS)

        return make

    def stage(name):
        def make():
            net = network()
            one = RANDOMIZATIONS.get(name).stages(net, X)[-1]

            def call():
                with one:
                    net(X)

            return net, call

        return make

    def swap():
        net = network()
        others = {name: tensor * 2 for name, tensor in tensors_of(net).items()}

        def call():
            with swapped(net, others):
                net(X)

        return net, call

    found = {f"method {name}": method(name) for name in METHODS.names()}
    found |= {f"randomization {name}": stage(name) for name in RANDOMIZATIONS.names()}
    return {**found, "other weights": swap}


QUICK = ("method grad-cam", "method lrp-epsilon", "randomization cascading", "other weights")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", QUICK)
def test_interrupts_at_random_moments_change_nothing(name):
    strikes, found = damaged(calls()[name], 15, seed=0)
    assert strikes > 0
    assert found == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_two_thousand_interrupts_of_everything_change_nothing(tmp_path):
    counted = Counter()
    for name, make in calls().items():
        strikes, found = damaged(make, 80 if "method" in name else 400, seed=1)
        counted.update(struck=strikes, damaged=len(found))
        assert found == [], name
    assert counted["damaged"] == 0
    assert counted["struck"] >= 2000


def training_data():
    labels = torch.arange(16) % 4
    return Dataset(name="some", inputs=MANY, targets=labels, ids=tuple(map(str, range(16))))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_audits_interrupted_at_random_moments_leave_the_model_and_a_run_that_goes_on(tmp_path):
    folders = iter(range(10**6))

    def make():
        net = network()

        def call():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hp.audit(
                    net, X, methods=["gradient-x-input", "grad-cam"], checks=["parameter-randomization"],
                    out=tmp_path / str(next(folders)), threads=1, progress=False,
                )  # fmt: skip

        return net, call

    strikes, found = damaged(make, 60, seed=2)
    assert strikes >= 40
    assert found == []
