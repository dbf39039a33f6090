import os
import signal
import subprocess
import sys
import time

from control_plane.telemetry.process_usage import ProcessUsageSampler


def test_a_busy_process_shows_its_share_and_an_idle_one_next_to_nothing() -> None:
    sampler = ProcessUsageSampler(time.monotonic)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    idle = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        first = sampler.sample(busy.pid)
        assert (first.cpu_percent, first.is_frozen) == (None, False)
        sampler.sample(idle.pid)
        deadline = time.monotonic() + 20

        def measured(pid: int) -> float:
            while (percent := sampler.sample(pid).cpu_percent) is None:
                assert time.monotonic() < deadline
            return float(percent)

        assert measured(busy.pid) > 5
        assert measured(idle.pid) < 5
        os.kill(idle.pid, signal.SIGSTOP)
        while not sampler.sample(idle.pid).is_frozen:
            assert time.monotonic() < deadline
    finally:
        for process in (busy, idle):
            process.kill()
            process.wait()
    assert sampler.sample(busy.pid) is None


def test_a_process_is_not_older_than_the_command_that_started_it() -> None:
    tick_s = 0.01
    before = time.time()
    process = subprocess.Popen(["/bin/sleep", "1000"])
    after = time.time()
    try:
        seen = ProcessUsageSampler(time.monotonic).sample(process.pid)
        assert before - tick_s <= seen.created_at.timestamp() <= after
    finally:
        process.kill()
        process.wait()
