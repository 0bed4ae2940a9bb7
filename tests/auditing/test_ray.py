"""The same rows by actors of Ray, whatever dies. One small cluster serves all tests here; others start their own."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import audit_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from test_ways import COUNT, SETTINGS, audited, same
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import from_spec
from heatproof.auditing.engines import cluster as cluster_of_ours
from heatproof.auditing.engines import keeper, on_ray
from heatproof.auditing.spec import read
from heatproof.auditing.ways import Actors, Way
from heatproof.errors import AuditError, InputError, MissingExtraError, StoreError
from heatproof.methods import PerSampleBottleneck
from heatproof.runs import Store, leases, read_manifest, read_rows
from heatproof.runs.files import LocalFiles
from heatproof.runs.store import PARTIAL

RAY: dict[str, Any] = {"engine": "ray", "workers": 2}
NEEDED = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of ours, as an audit starts it, with a home folder of its own."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the engine ray needs the extra ray")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("HEATPROOF_CACHE", str(tmp_path_factory.mktemp("cache")))  # the workers'
        with cluster_of_ours.environment(None):
            ray = cluster_of_ours.imported()
            with cluster_of_ours.connected(ray, Actors(workers=2), 0):
                yield ray
        assert list(home.iterdir()) == []
    assert not {"RAY_AUTH_TOKEN", "RAY_AUTH_MODE"} & os.environ.keys()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return audited(tmp_path_factory.mktemp("alone")).rows()


class Deadly(nn.Module):
    """Kills the process that runs it on the first sample of some blocks, where it is not the first one.

    So often for each, as files in a folder count it.
    """

    def __init__(self, folder: Path, times: int, blocks: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.net, self.home = toys.network(), os.getpid()
        self.hit = {block: toys.images(COUNT)[3 * block : 3 * block + 1] for block in blocks}
        self.folder, self.times = folder, times
        folder.mkdir()

    def forward(self, x: Tensor) -> Tensor:
        for block, hit in self.hit.items() if os.getpid() != self.home else ():
            if bool((x == hit).flatten(1).all(1).any()):
                died = len(list(self.folder.glob(f"{block}-*")))
                if died < self.times:
                    (self.folder / f"{block}-{died}").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
        out: Tensor = self.net(x)
        return out


class Practice:
    """Training data that know which processes have read more of them than a look takes."""

    name, classes, identity = "practice", None, "practice"

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __len__(self) -> int:
        return 40

    def read(self, start: int, stop: int) -> hp.data.Dataset:
        if stop > 2:
            Path(self.folder, str(os.getpid())).touch()
        return hp.data.Dataset(
            name=self.name,
            inputs=toys.images(40)[start:stop],
            targets=torch.arange(start, stop) % 4,
            ids=tuple(map(str, range(start, stop))),
        )


class Counted:
    """A method that takes a while, and keeps which process was called how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        Path(self.folder, f"{time.monotonic_ns()}-{os.getpid()}").touch()
        time.sleep(0.3)
        return inputs


def calls(folder: Path) -> int:
    return len(list(folder.iterdir()))


def interrupted(out: Path, folder: Path, **way: Any) -> None:
    """An audit of one block in eight states that is interrupted in its fourth, and gone on with here."""
    folder.mkdir()
    settings = {**SETTINGS, "methods": {"counted": Counted(folder)}, "inputs": toys.images(3)}

    def interrupt() -> None:
        while calls(folder) < 4:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        toys.run(out, **settings, **way)
    waiting.join()
    begun = calls(folder)
    assert Store(out).finished() == {}
    parts = [part for part in Store(out).parts(PARTIAL) if part.kind == "parquet"]
    tables = (Store(out).table(part).select(["stage", "seed"]).to_pylist() for part in parts)
    put_down = {(row["stage"], row["seed"]) for rows in tables for row in rows}
    assert begun - 1 <= len(put_down) <= begun < 8  # all but the one in hand
    assert leases.held(LocalFiles(out)) == []
    toys.run(out, **settings)
    assert read_manifest(out)["status"] == "complete"


def test_processes_that_are_interrupted_put_down_what_is_done(tmp_path: Path) -> None:
    interrupted(tmp_path / "run", tmp_path / "calls", workers=1)


NOTEBOOK = """
import audit_toys as toys
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = toys.network()

    def forward(self, x):
        return self.net(x)
"""


@NEEDED
class TestOneResult:
    @pytest.mark.slow
    def test_two_actors(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        run = audited(tmp_path, **RAY)
        same(tmp_path, undisturbed)
        computed = [worker["blocks"] for worker in Store(tmp_path).workers()]
        assert (computed[0], sum(computed), len(computed)) == (0, 7, 3)
        assert run.manifest["costs"]["smoothgrad"]["maps"] == 21 * 8
        assert leases.held(LocalFiles(tmp_path)) == []

    def test_five_are_killed_in_the_middle(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        alone = audited(tmp_path / "alone", model=Deadly(tmp_path / "none", 0).eval())
        audited(tmp_path / "ray", model=Deadly(tmp_path / "deaths", 1, (1, 2, 3, 5, 6)).eval(), **RAY)
        assert len(list((tmp_path / "deaths").iterdir())) == 5
        same(tmp_path / "ray", alone.rows())
        said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("A Ray worker ended (Actor")]
        assert len(said) == 5
        assert all(line.endswith("); what it was at is handed to another.") for line in said)

    @pytest.mark.slow
    def test_a_block_that_kills_three_workers_is_recorded_and_the_run_goes_on(self, tmp_path: Path) -> None:
        run = audited(tmp_path / "ray", model=Deadly(tmp_path / "deaths", 99).eval(), **RAY)
        assert len(list((tmp_path / "deaths").iterdir())) == 3
        (failure,) = run.manifest["failures"]
        assert failure["error"].startswith("ActorDied: 3 actors ended (ActorDiedError: ")
        assert failure["error"].endswith(") while they were at block 1.")
        assert sorted(Store(tmp_path / "ray").finished()) == [0, 2, 3, 4, 5, 6]

    def test_a_network_of_a_spec_is_built_by_the_worker(self, tmp_path: Path) -> None:
        spec = written(tmp_path, "network_that_is_counted")
        alone, built = read(spec), read(spec)
        from_spec.run(alone, tmp_path / "alone", progress=False)
        from_spec.run(built, tmp_path / "ray", way=Way.of(**RAY), progress=False)
        pd.testing.assert_frame_equal(read_rows(tmp_path / "ray"), read_rows(tmp_path / "alone"), check_exact=True)
        loads = (tmp_path / "loads").read_text().split()
        assert loads.count(str(os.getpid())) == 2
        assert len(set(loads)) == 3  # here, and by each of the two

    @pytest.mark.slow
    def test_another_network_on_a_worker_is_refused(self, tmp_path: Path) -> None:
        spec = written(tmp_path, "network_that_is_another")
        (tmp_path / "other").touch()
        with pytest.raises(InputError, match="the same network on every worker, but one built another"):
            from_spec.run(read(spec), tmp_path / "ray", way=Way.of(**RAY), progress=False)

    @pytest.mark.slow
    def test_too_much_that_fails_stops_all(self, tmp_path: Path) -> None:
        with pytest.raises(AuditError, match=r"Stopped after 1 different failures \(0 are allowed\); the last: V"):
            audited(tmp_path, methods={"broken": toys.broken}, **RAY, max_errors=0)

    @pytest.mark.slow
    def test_a_network_of_a_script_is_sent(self, tmp_path: Path) -> None:
        main: dict[str, Any] = {"__name__": "__main__"}
        exec(NOTEBOOK, main)
        audited(tmp_path, model=main["Net"]().eval(), **RAY)
        assert len(Store(tmp_path).finished()) == 7

    @pytest.mark.slow
    def test_what_is_defined_in_a_function_is_sent(self, tmp_path: Path) -> None:
        audited(tmp_path, methods={"local": lambda model, inputs, targets: inputs}, **RAY)
        assert len(Store(tmp_path).finished()) == 7

    def test_what_cannot_be_sent_is_said(self, tmp_path: Path) -> None:
        model = toys.network()
        model.lock = threading.Lock()
        with pytest.raises(InputError, match="can be sent to other machines, but pickling it raised TypeError"):
            audited(tmp_path, model=model, **RAY)

    def test_actors_that_are_interrupted_put_down_what_is_done(self, tmp_path: Path) -> None:
        interrupted(tmp_path / "run", tmp_path / "calls", engine="ray", workers=1)

    @pytest.mark.slow
    def test_what_the_driver_has_learned_is_read_by_workers_with_another_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = {**SETTINGS, "methods": {"iba": PerSampleBottleneck(steps=3, samples=2)}, "inputs": toys.images(7)}
        monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
        (tmp_path / "reads").mkdir()
        run = toys.run(tmp_path / "ray", training_data=Practice(tmp_path / "reads"), **settings, **RAY)
        assert {path.name for path in (tmp_path / "reads").iterdir()} == {str(os.getpid())}
        alone = toys.run(tmp_path / "alone", training_data=Practice(tmp_path / "reads"), **settings)
        pd.testing.assert_frame_equal(run.rows(), alone.rows(), check_exact=True)

    @pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="nothing tells who listens where")
    def test_no_port_is_open_to_other_machines(self, cluster: Any) -> None:
        listening = {name: address for address, name in listeners()}
        ours = {name for process in (os.getpid(), *below(os.getpid())) for name in sockets(process)}
        addresses = [listening[name] for name in listening.keys() & ours]
        assert len(addresses) > 3
        # 127.0.0.1, ::1 and 127.0.0.1 as IPv6, as the kernel writes them.
        assert set(addresses) <= {"0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F"}

    @pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="nothing tells what was said to a process")
    def test_nobody_is_told_of_it(self, cluster: Any) -> None:
        servers = [process for process in below(os.getpid()) if "gcs_server" in called(process)]
        for process in servers:
            assert b"RAY_USAGE_STATS_ENABLED=0" in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        assert len(servers) == 1
        assert not cluster._private.worker.global_worker.node.webui_url  # no dashboard

    def test_it_listens_on_this_machine_alone(self, cluster: Any) -> None:
        assert cluster.util.get_node_ip_address() == "127.0.0.1"
        assert cluster.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
        assert cluster.cluster_resources()["object_store_memory"] == cluster_of_ours.ROOM


def below(process: int) -> list[int]:
    """The processes that a process has begun, and those that they have."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    pairs = [tuple(map(int, line.split())) for line in told.splitlines()]
    found = [process]
    for one in found:
        found += [pid for pid, parent in pairs if parent == one]
    return found[1:]


def called(process: int) -> str:
    """The words that a process was begun with."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:  # it has ended
        return ""


def sockets(process: int) -> set[str]:
    """The sockets that a process has open, by the kernel's number."""
    found = set()
    with suppress(OSError):  # it has ended
        for file in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                name = str(file.readlink())
                if name.startswith("socket:["):
                    found.add(name[8:-1])
    return found


def listeners() -> Iterator[tuple[str, str]]:
    """The address in hexadecimal digits, and the number, of each socket of TCP that listens on this machine."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                yield fields[1].partition(":")[0], fields[9]


FACTORY = """
import os
from pathlib import Path

import audit_toys as toys

HERE = Path(__file__).parent

def make():
    with (HERE / "loads").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    return toys.network(int((HERE / "other").exists() and os.getpid() != DRIVER))
"""


def written(folder: Path, name: str) -> Path:
    """A spec with its network and data beside it; the file `other` makes workers build another network."""
    (folder / f"{name}.py").write_text(f"DRIVER = {os.getpid()}\n{FACTORY}")
    np.savez(folder / "data.npz", x=toys.images(COUNT)[:, 0].numpy(), y=np.arange(COUNT) % 4)
    spec = folder / "spec.toml"
    spec.write_text(
        'methods = ["gradient-x-input"]\nchecks = ["parameter-randomization"]\nbatch = 3\nthreads = 1\n'
        f'[model]\nname = "{name}:make"\n[data]\nname = "npz"\npath = "data.npz"\n'
    )
    return spec


class TestAlone:
    def test_without_ray_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingExtraError, match=r"The engine ray needs the package 'ray'.*heatproof\[ray\]"):
            audited(tmp_path, **RAY)

    def test_of_a_network_that_is_built_nothing_is_sent(self) -> None:
        pytest.importorskip("ray.cloudpickle", reason="the engine ray needs the extra ray")
        task = SimpleNamespace(plan=SimpleNamespace(model=nn.Linear(1000, 100)))
        build: Any = from_spec.Building(model=None, folder=Path(), trusted=None)  # type: ignore[arg-type]  # is not asked
        assert len(on_ray._sent(task, Actors(workers=1))) > 400_000  # type: ignore[arg-type]  # all it looks at
        sent = on_ray._sent(task, Actors(workers=1, build=build))  # type: ignore[arg-type]  # all it looks at
        assert len(sent) < 1000
        other = nn.Linear(2, 2)
        assert on_ray._received(sent, other).plan.model is other

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing tells who has what open")
    @pytest.mark.parametrize("said", [b"", b"in order"])
    def test_what_a_driver_leaves_is_ended_unless_it_ends_in_order(self, tmp_path: Path, said: bytes) -> None:
        (tmp_path / "log").touch()
        command = ["sh", "-c", "exec < log; echo; exec sleep 60"]
        ours, others = (
            subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE) for _ in range(2)
        )
        for one in (ours, others):
            assert one.stdout is not None
            one.stdout.readline()  # it has begun
        keeping = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(tmp_path), str(os.getsid(ours.pid))],
            stdin=subprocess.PIPE,
        )
        keeping.communicate(said, timeout=30)
        try:
            assert others.poll() is None  # of another session
            if said:
                assert ours.poll() is None
            else:
                assert ours.wait(timeout=10) == -signal.SIGKILL
                assert not tmp_path.exists()
        finally:
            for one in (ours, others):
                one.kill()
                one.communicate()

    def test_a_gpu_for_a_model_that_is_on_none(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"a model on a GPU, as gpus = 1 asks .*device = \"cuda\".*--mixed"):
            audited(tmp_path, **RAY, gpus=1)

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"engine": "dask"}, "Expected the name of an engine, but got 'dask'"),
            ({"engine": "ray"}, "Expected workers with the engine ray"),
            ({"engine": "ray", "workers": 2, "take": True, "out": "x"}, "the engine ray alone"),
            ({"engine": "ray", "workers": 2, "devices": ["cuda:0"]}, "one worker a device|the engine ray alone"),
            ({"engine": "ray", "workers": 2, "gpus": -1}, "gpus to be a number 0 on, for each worker, but got -1"),
            ({"engine": "ray", "workers": 2, "gpus": 1.5}, "a whole number, or a part of one GPU, but got 1.5"),
            ({"engine": "ray", "workers": 2, "cpus": 0}, "cpus to be a number above 0, for each worker, but got 0"),
            ({"engine": "ray", "workers": 2, "address": ""}, "the address of a Ray cluster, such as auto"),
            ({"workers": 2, "gpus": 1}, 'address, gpus and cpus with engine = "ray" only'),
            ({"engine": "local", "workers": 2}, "no workers or devices with the engine local"),
            ({"engine": "processes"}, "workers or devices with the engine processes"),
        ],
    )
    def test_what_does_not_go_together(self, asked: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said):
            Way.of(**asked)

    def test_what_each_asks_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        assert Way.of(engine="ray", workers=3, cpus=4).actors == Actors(workers=3, cpus=4)
        asked = {"engine": "ray", "workers": 64, "gpus": 0.5, "cpus": 2, "address": "auto"}
        assert Way.of(**asked).actors == Actors(workers=64, gpus=0.5, cpus=2, address="auto")
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        assert Way.of(engine="ray", workers=3).actors == Actors(workers=3, address="10.0.0.1:6379")


SCRIPT = """
import sys
from pathlib import Path
import test_ray
import test_ways
more = test_ray.PATIENT if sys.argv[2] else {}
test_ways.audited(Path(sys.argv[1]), engine="ray", workers=2, address=sys.argv[2] or None, **more)
"""


def started(out: Path, address: str = "") -> "subprocess.Popen[bytes]":
    """A driver in a process and a session of its own: on the cluster at an address, or one that it begins."""
    home = {"HOME": str(out.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out), address], cwd=Path(__file__).parent, env={**os.environ, **home},
        start_new_session=True,
    )  # fmt: skip


def computing(out: Path, driver: "subprocess.Popen[bytes]") -> None:
    """Wait until it has written a block."""
    while not list((out / "rows").glob("*.parquet")):
        time.sleep(0.01)
        assert driver.poll() is None


def of_session(session: int) -> list[int]:
    """The processes of a session that are left; Ray's workers are in the one of who began their cluster."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "Z" not in line.split()[1]]


def actors() -> list[int]:
    """The processes that compute for somebody on the cluster that this process has begun."""
    told = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    every = [line.split(None, 2) for line in told.splitlines()]
    ours = {pid for pid, parent, name in every if int(parent) == os.getpid() and "/raylet " in name}
    return [int(pid) for pid, parent, name in every if parent in ours and name.startswith("ray::Remote")]


def gone(session: int) -> bool:
    """Whether nothing of it is left, half a minute later at most."""
    for _ in range(300):
        if not of_session(session):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_who_ends_it_leaves_a_run_that_goes_on_and_nothing_behind(
    tmp_path: Path, how: signal.Signals, undisturbed: pd.DataFrame
) -> None:
    pytest.importorskip("ray", reason="the engine ray needs the extra ray")
    before = set(Path("/tmp").glob("hp-ray-*"))
    one = started(tmp_path / "run")
    computing(tmp_path / "run", one)
    one.send_signal(how)
    assert one.wait(timeout=60) != 0
    assert gone(one.pid)
    assert set(Path("/tmp").glob("hp-ray-*")) <= before
    assert not (tmp_path / ".ray").exists()
    audited(tmp_path / "run")
    same(tmp_path / "run", undisturbed)


def patient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Maps that take a while: who is killed is in the middle of a block."""
    time.sleep(0.05)
    return inputs * targets[:, None, None, None]


PATIENT: dict[str, Any] = {"methods": {"patient": patient}, "batch": 1}


@pytest.mark.slow
@NEEDED
def test_killed_fifty_times_the_rows_are_the_same(tmp_path: Path, cluster: Any) -> None:
    """Drivers and their actors at random moments of their work, on a cluster that stays."""
    rng, address = random.Random(0), cluster.get_runtime_context().gcs_address
    undisturbed = audited(tmp_path / "alone", **PATIENT).rows()
    killed = {"driver": 0, "actor": 0}
    round_ = 0
    while sum(killed.values()) < 50:
        out = tmp_path / str(round_)
        round_ += 1
        one = started(out, address)
        while one.poll() is None and sum(killed.values()) < 5 * round_:
            if not actors():
                time.sleep(0.05)
                continue
            time.sleep(rng.uniform(0.0, 4.0))
            kind = "driver" if rng.random() < 0.3 else "actor"
            victims = [one.pid] if kind == "driver" else actors()
            with suppress(ProcessLookupError):  # it has ended meanwhile
                if victims and one.poll() is None:
                    os.kill(rng.choice(victims), signal.SIGKILL)
                    killed[kind] += 1
            if kind == "driver":
                one.wait()
                one = started(out, address)
        assert one.wait(timeout=300) == 0
        audited(out, **PATIENT)
        same(out, undisturbed)
    print(killed, "in", round_, "runs")
    assert min(killed.values()) >= 10


@pytest.mark.slow
@NEEDED
def test_a_machine_that_dies_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A cluster of two machines, as Ray's own tests have them, of which one ends in the middle of a block."""
    from ray.cluster_utils import Cluster

    undisturbed = audited(tmp_path / "alone", **PATIENT).rows()
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = machines.add_node(num_cpus=1)
        one = started(tmp_path / "run", machines.address)
        computing(tmp_path / "run", one)
        while len(Store(tmp_path / "run").workers()) < 3:  # the driver, and one on each machine
            time.sleep(0.1)
            assert one.poll() is None
        machines.remove_node(second, allow_graceful=False)
        machines.add_node(num_cpus=1)
        assert one.wait(timeout=300) == 0
    finally:
        machines.shutdown()
    same(tmp_path / "run", undisturbed)
    lines = capfd.readouterr().err.splitlines()
    (said,) = [line for line in lines if line.startswith("A Ray worker ended (")]
    assert said.endswith("; what it was at is handed to another.")
    assert not [line for line in lines if "died" in line and line != said]  # and by nobody else


@pytest.mark.slow
def test_the_processes_of_the_cluster_itself_are_killed(tmp_path: Path, undisturbed: pd.DataFrame) -> None:
    """What Ray is made of, of a cluster that the audit began: it ends with an error or goes on, and is gone on with."""
    pytest.importorskip("ray", reason="the engine ray needs the extra ray")
    rng = random.Random(0)
    one = started(tmp_path / "run")
    for _ in range(5):
        time.sleep(rng.uniform(1.0, 12.0))
        there = [process for process in of_session(one.pid) if process != one.pid]
        with suppress(ProcessLookupError):
            if there and one.poll() is None:
                os.kill(rng.choice(there), signal.SIGKILL)
        if one.poll() is not None:
            assert gone(one.pid)
            one = started(tmp_path / "run")
    one.kill()
    one.wait()
    assert gone(one.pid)
    audited(tmp_path / "run")
    same(tmp_path / "run", undisturbed)
