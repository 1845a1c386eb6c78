from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import pytest

import a2a_server
from a2a_server import Fail, File, SyncTask, TaskContext, Text
from a2a_server.context import wait_for_room
from a2a_server.errors import LeaseLost
from a2a_server.model.objects import Data, Progress
from a2a_server.model.runs import Chunk, LogLine, Stopping, TakeView
from tests.patience import PATIENCE
from tests.unit.attempts import RecordingAttempt, task_of


async def test_what_a_skill_can_read() -> None:
    source = File("a.txt", raw=b"a")
    view = task_of("hello", data={"a": 1}, files=(source,), parameters={"b": 2}, metadata={"m": 1})
    attempt = RecordingAttempt(view, run=7, number=2)
    task = TaskContext(attempt)
    assert (task.id, task.context_id, task.owner, task.tenant) == ("t-1", "c-1", "local", "")
    assert (task.attempt, task.deadline, task.title) == (2, None, "")
    assert (task.message, task.history) == (view.message, (view.message,))
    assert (task.text, task.data, task.files) == ("hello", {"a": 1}, (source,))
    assert (task.metadata, task.parameters) == ({"m": 1}, {"b": 2})
    assert task.stopping is None
    attempt.stopping = Stopping.CANCELED
    assert task.stopping is Stopping.CANCELED


async def test_a_verb_takes_effect_when_called_and_needs_no_await() -> None:
    attempt = RecordingAttempt(task_of(), limit=1)
    task = TaskContext(attempt)
    task.progress(0.5, "half")
    task.progress(done=1, total=2)
    task.log("info", "a line")
    task.artifact("a").write("text")
    gc.collect()
    assert attempt.outputs == [
        Progress(0.5, note="half"),
        Progress(done=1, total=2),
        LogLine("info", "a line"),
        Chunk("a", (Text("text"),), media_type="text/plain"),
    ]
    assert attempt.committed == 0


async def test_awaiting_a_verb_waits_for_the_commit() -> None:
    attempt = RecordingAttempt(task_of(), limit=1)
    task = TaskContext(attempt)

    async def tell() -> None:
        await task.progress(0.1)

    telling = asyncio.create_task(tell())
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    await asyncio.sleep(0)
    assert not telling.done()
    await attempt.commit()
    await asyncio.wait_for(telling, PATIENCE)


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress(1.1), "fraction must be from 0.0 to 1.0, not 1.1"),
        (Progress(-0.1), "fraction must be from 0.0 to 1.0"),
        (Progress(float("nan")), "fraction must be from 0.0 to 1.0"),
        (Progress(), "give a fraction, done and total, or a note"),
        (Progress(0.5, done=1), "not both"),
        (Progress(total=3), "total needs done"),
        (Progress(done=4, total=3), "done must be from 0 to total"),
        (Progress(done=-1), "done must be from 0 to total"),
        (Progress(done=2**60, total=2**60), "both below"),
    ],
    ids=["above", "below", "nan", "nothing", "both", "total alone", "more than all", "negative", "huge"],
)
async def test_progress_has_rules(progress: Progress, said: str) -> None:
    attempt = RecordingAttempt(task_of())
    with pytest.raises(ValueError, match=said):
        TaskContext(attempt).progress(progress.fraction, progress.note, done=progress.done, total=progress.total)
    assert attempt.outputs == []


async def test_log_levels() -> None:
    with pytest.raises(ValueError, match="level must be one of debug, info, warning, error, not 'loud'"):
        TaskContext(RecordingAttempt(task_of())).log("loud", "x")


async def test_an_artifact_of_text_is_closed_at_the_end() -> None:
    attempt = RecordingAttempt(task_of())
    async with TaskContext(attempt).artifact("notes", "text/markdown", description="what was said") as notes:
        notes.write("a")
        await notes.write("b")
        assert (notes.offset, notes.chunks) == (0, 0)
    assert attempt.outputs == [
        Chunk("notes", (Text("a", "text/markdown"),), description="what was said", media_type="text/markdown"),
        Chunk("notes", (Text("b", "text/markdown"),)),
        Chunk("notes", (), last=True),
    ]


async def test_an_artifact_of_bytes_and_one_of_data() -> None:
    attempt = RecordingAttempt(task_of())
    task = TaskContext(attempt)
    task.artifact("a.png", "image/png").write(b"\x00")
    rows = task.artifact("rows", "application/json")
    row = {"n": 1}
    rows.write(row)
    row["n"] = 2
    rows.write([1, 2])
    assert attempt.outputs == [
        Chunk("a.png", (File("a.png", "image/png", raw=b"\x00"),), media_type="image/png"),
        Chunk("rows", (Data({"n": 1}, "application/json"),), media_type="application/json"),
        Chunk("rows", (Data([1, 2], "application/json"),)),
    ]
    with pytest.raises(Fail, match="of type dict that cannot be written as JSON"):
        rows.write({"a": object()})


async def test_an_artifact_that_goes_on_where_an_earlier_run_stopped() -> None:
    attempt = RecordingAttempt(task_of(), run=2, takes={"a": TakeView(size=12, chunks=3)})
    task = TaskContext(attempt)
    resumed = task.artifact("a", resume=True)
    assert (resumed.offset, resumed.chunks) == (12, 3)
    resumed.write("more")
    resumed.write("and more")
    assert attempt.outputs == [
        Chunk("a", (Text("more"),), resume=True, media_type="text/plain"),
        Chunk("a", (Text("and more"),)),
    ]
    afresh = task.artifact("a")
    assert (afresh.offset, afresh.chunks) == (0, 0)


async def test_nothing_is_written_after_close_and_an_error_leaves_it_open() -> None:
    attempt = RecordingAttempt(task_of())
    task = TaskContext(attempt)
    writer = task.artifact("a")
    await writer.close()
    await writer.close()
    with pytest.raises(ValueError, match='artifact "a" is closed'):
        writer.write("x")
    assert len(attempt.outputs) == 1
    with pytest.raises(KeyError):
        async with task.artifact("b"):
            raise KeyError
    assert len(attempt.outputs) == 1


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 257, 5], ids=["empty", "control", "long", "number"])
async def test_artifacts_have_printable_names(name: str) -> None:
    attempt = RecordingAttempt(task_of())
    with pytest.raises(Fail, match="a name is 1 to 256 printable characters"):
        TaskContext(attempt).artifact(name)
    assert attempt.outputs == []


async def test_texts_are_unicode() -> None:
    attempt = RecordingAttempt(task_of())
    task = TaskContext(attempt)
    with pytest.raises(Fail, match="lone surrogate"):
        task.log("info", "\ud800")
    with pytest.raises(Fail, match="lone surrogate"):
        task.progress(0.5, "\ud800")
    assert attempt.outputs == []


async def test_whole_figures_are_integers() -> None:
    attempt = RecordingAttempt(task_of())
    TaskContext(attempt).progress(done=2.0, total=2.5)
    assert repr(attempt.outputs) == "[Progress(fraction=None, done=2, total=2.5, note='')]"


async def test_a_lost_run_can_say_nothing() -> None:
    attempt = RecordingAttempt(task_of())
    attempt.lost = True
    with pytest.raises(LeaseLost):
        TaskContext(attempt).progress(0.5)


async def test_sync_verbs() -> None:
    attempt = RecordingAttempt(task_of("hello"))
    task = SyncTask(attempt, asyncio.get_running_loop())

    def work() -> str:
        task.progress(0.5)
        task.log("warning", "careful")
        with task.artifact("a", description="d") as out:
            out.write("x")
        with pytest.raises(KeyError), task.artifact("b"):
            raise KeyError
        return task.text

    assert await asyncio.to_thread(work) == "hello"
    assert attempt.outputs == [
        Progress(0.5),
        LogLine("warning", "careful"),
        Chunk("a", (Text("x"),), description="d", media_type="text/plain"),
        Chunk("a", (), last=True),
    ]


async def test_a_sync_verb_blocks_until_there_is_room() -> None:
    attempt = RecordingAttempt(task_of(), limit=1)
    task = SyncTask(attempt, asyncio.get_running_loop())
    working = asyncio.create_task(asyncio.to_thread(task.progress, 0.5))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    assert attempt.outputs == [Progress(0.5)]
    assert not working.done()
    await attempt.commit()
    await asyncio.wait_for(working, PATIENCE)


async def test_a_sync_verb_of_a_lost_run_raises() -> None:
    attempt = RecordingAttempt(task_of(), limit=1)
    task = SyncTask(attempt, asyncio.get_running_loop())
    working = asyncio.create_task(asyncio.to_thread(task.progress, 0.5))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    await attempt.lose()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(working, PATIENCE)


async def test_a_thread_does_not_wait_for_a_loop_that_is_gone() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(LeaseLost):
        wait_for_room(RecordingAttempt(task_of()), loop)


def test_importing_the_package_pulls_in_no_server() -> None:
    program = (
        "import sys, a2a_server\n"
        "assert all(hasattr(a2a_server, name) for name in a2a_server.__all__)\n"
        "heavy = {'starlette', 'uvicorn', 'aiosqlite', 'boto3', 'jsonrpcserver', 'sse_starlette', 'httpx2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.strip() == "[]"


def test_a_name_of_the_package_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, a2a_server\n"
        "before = {'pydantic', 'a2a_server.agent'} & set(sys.modules)\n"
        "from a2a_server import Agent\n"
        "print(sorted(before), Agent.__module__, a2a_server.Agent is Agent, 'Role' in dir(a2a_server))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.strip() == "[] a2a_server.agent True True"


def test_a_name_that_the_package_does_not_have_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Agnet'"):
        _ = a2a_server.Agnet  # type: ignore[attr-defined]
    assert a2a_server.__version__


def test_a_server_reads_the_management_api_when_it_is_asked_for() -> None:
    program = (
        "import sys\n"
        "import a2a_server.wiring.serving, a2a_server.wiring.system\n"
        "late = {'routes', 'tasks', 'batches', 'pulling', 'commanding'}\n"
        "print(sorted(name for name in late if f'a2a_server.web.management.{name}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.strip() == "[]"
