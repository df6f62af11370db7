"""The live demo: what a visitor gets, what nobody can reach, and what is left when it ends."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch
from tornado.websocket import websocket_connect

from course_lm.classroom import aligned, demo
from course_lm.training.loop import Recipe
from course_lm.training.states import state_path
from course_lm.viewing import demo as parts

PLACES = 8
# The real command, for a small hall that is soon cleared.
HALL = f"""
from course_lm.classroom import demo, demo_kernels, demo_server
demo_kernels.MOST, demo_server.LEFT = {PLACES}, 8
demo.main(["--port", "{{port}}"])
"""


@contextlib.contextmanager
def hall(home: Path):
    """The demo on a free port of this machine: its address, its process and its folder."""
    pytest.importorskip("voila", reason="the demo needs the extra `lecturer`")
    shutil.copy(state_path("assistant"), home / "aligned.safetensors")  # of the same shape, at once
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"COURSE_LM_STATES": str(home), "TMPDIR": str(home), "MPLCONFIGDIR": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-c", HALL.format(port=port)],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    said = []
    try:
        while not any("Ctrl-C" in line for line in said):
            said.append(process.stdout.readline())
            assert said[-1], "".join(said)
        (folder,) = home.glob("course-demo-*")
        yield f"http://127.0.0.1:{port}/", process, folder
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()  # so that no later test finds it
            process.communicate()
            raise


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with hall(tmp_path_factory.mktemp("hall")) as all_of_it:
        yield all_of_it


@pytest.fixture
def address(running):
    return running[0]


def get(url):
    """Status and text; a status of refusal is no error here."""
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


def visit(address):
    """Come as a visitor; the kernel that the page names, and the page."""
    reached = []
    assert until(lambda: reached.append(get(address)) or reached[-1][0] == 200)
    page = reached[-1][1]
    return re.search(r'"kernelId": "([\w-]+)"', page)[1], page


# -- what a visitor gets


def test_the_page_has_its_parts_and_asks_no_other_machine_for_anything(address):
    _, page = visit(address)
    for title in ("How language models learn", "What comes next?", "after each phase", "better?"):
        assert title in page
    assert page.count("application/vnd.jupyter.widget-view+json") == 4
    assert re.findall(r"(?:src|href)=.(?:https?:)?//[^\"' ]*", page) == []
    assert "Traceback" not in page


def test_the_page_shows_no_code(address):
    _, page = visit(address)
    assert "import" not in re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)


def test_the_kernel_is_a_copy_of_the_process_that_is_ready(running):
    visit(running[0])
    (ready,) = [
        child
        for child in psutil.Process(running[1].pid).children()
        if any("forkserver" in word for word in child.cmdline())
    ]
    assert ready.num_threads() == 1  # a process with several could not be copied
    assert ready.children()


# -- what nobody can reach


CODE = "import pathlib; pathlib.Path({path!r}).write_text('been here')"
ASKS = {
    "execute_request": {"silent": False, "store_history": False, "user_expressions": {}},
    "inspect_request": {"cursor_pos": 3, "detail_level": 0},
    "complete_request": {"cursor_pos": 3},
    "history_request": {"hist_access_type": "tail", "n": 9},
    "debug_request": {"type": "request", "seq": 1, "command": "evaluate", "arguments": {}},
}


def message(kind, channel, content):
    name = uuid.uuid4().hex
    header = {"msg_id": name, "msg_type": kind, "session": name, "username": "", "version": "5.3"}
    header["date"] = "2026-01-01T00:00:00Z"
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content} | {
        "channel": channel,
        "buffers": [],
    }


def framed(said):
    """A message in the binary protocol `v1.kernel.websocket.jupyter.org`."""
    names = "header", "parent_header", "metadata", "content"
    pieces = [said["channel"].encode(), *(json.dumps(said[name]).encode() for name in names)]
    offsets = [8 * (len(pieces) + 2)]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    numbers = [len(offsets), *offsets]
    return b"".join(n.to_bytes(8, "little") for n in numbers) + b"".join(pieces)


def kind_of(received):
    if isinstance(received, str):
        return json.loads(received)["header"]["msg_type"]
    offsets = [int.from_bytes(received[8 * at : 8 * at + 8], "little") for at in range(1, 4)]
    return json.loads(received[offsets[1] : offsets[2]])["msg_type"]


async def answers(url, protocols, asked):
    """The kinds of all messages that come back, until the kernel says who it is."""
    socket = await websocket_connect(url, subprotocols=protocols)
    for said in (*asked, message("kernel_info_request", "shell", {})):
        binary = socket.selected_subprotocol is not None
        await socket.write_message(framed(said) if binary else json.dumps(said), binary=binary)
    kinds = []
    while "kernel_info_reply" not in kinds:
        kinds.append(kind_of(await asyncio.wait_for(socket.read_message(), 60)))
    socket.close()
    while await asyncio.wait_for(socket.read_message(), 60) is not None:
        pass  # until both sides have closed it
    return kinds


@pytest.mark.parametrize("protocols", [None, ["v1.kernel.websocket.jupyter.org"]])
def test_a_visitor_who_sends_code_to_their_kernel_is_not_heard(address, tmp_path, protocols):
    kernel, _ = visit(address)
    code = CODE.format(path=str(tmp_path / "trace"))
    asked = [
        message(kind, channel, {"code": code, **more})
        for kind, more in ASKS.items()
        for channel in ("shell", "control")
    ]
    url = f"{address.replace('http', 'ws')}api/kernels/{kernel}/channels"
    kinds = asyncio.run(answers(url, protocols, asked))
    assert "kernel_info_reply" in kinds
    assert not {kind for kind in kinds if kind.removesuffix("_reply") + "_request" in ASKS}
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_another_site_cannot_speak_to_a_kernel(address):
    from tornado.httpclient import HTTPClientError, HTTPRequest

    kernel, _ = visit(address)
    url = f"{address.replace('http', 'ws')}api/kernels/{kernel}/channels"
    foreign = HTTPRequest(url, headers={"Origin": "http://elsewhere.example"})

    async def connect():
        await websocket_connect(foreign)

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(connect())


@pytest.mark.parametrize(
    "path",
    [
        "api/kernels",
        "api/contents",
        "api/terminals",
        "voila/api/contents",
        "voila/tree",
        "voila/files/demo.ipynb",
        "voila/files/index.html.j2",
        "voila/static/..%2f..%2f..%2fsetup.py",
        "demo.ipynb",
        "?theme=..%2f..%2fother",
    ],
)
def test_nothing_else_is_served(address, path):
    assert get(address + path)[0] in (403, 404)


def test_a_visitor_cannot_choose_another_template(address):
    _, page = visit(f"{address}?template=classic")
    assert "#rendered_cells > div" in page


def test_a_full_hall_says_so_and_those_who_left_make_room(address):
    with ThreadPoolExecutor(PLACES) as crowd:
        list(crowd.map(get, [address] * PLACES))
    assert get(address) == (503, f"All {PLACES} places are taken. Try again in a minute.")
    assert until(lambda: get(address)[0] == 200)


# -- what is left


def test_nothing_is_left_when_it_ends(tmp_path):
    with hall(tmp_path) as (address, process, folder):
        get(address)
        everybody = psutil.Process(process.pid).children(recursive=True)
        assert len(everybody) >= 2
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert not folder.exists()
        assert until(lambda: not any(one.is_running() for one in everybody))


def test_a_demo_that_is_killed_leaves_no_kernel(tmp_path):
    with hall(tmp_path) as (address, process, _):
        get(address)
        everybody = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert until(lambda: not any(one.is_running() for one in everybody))


def test_without_the_extra_it_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(demo.util, "find_spec", lambda name: None)
    assert demo.main([]) == 1
    assert re.fullmatch(r"demo: expected .*, got .*; run it .*`\n", capsys.readouterr().err)


# -- the parts


CACHED = parts.phases, parts.stories, parts.endings_of, parts.mean_gold, parts.ending_table


@pytest.fixture
def phases(tmp_path, monkeypatch):
    shutil.copy(state_path("assistant"), tmp_path / "aligned.safetensors")
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    monkeypatch.setattr(parts, "STORIES", 4)
    for made in CACHED:
        made.cache_clear()
    yield parts.phases()
    for made in CACHED:
        made.cache_clear()


def test_the_phases_come_in_the_order_of_the_course_and_only_the_tuned_one_answers(phases):
    assert list(phases) == ["counts", "foundation", "tuned", "after feedback"]
    (turn,) = parts.chat().turns
    assert [turn.judged(name) for name in phases] == [False, False, True, True]


def test_without_the_last_model_there_are_three_phases(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    parts.phases.cache_clear()
    assert list(parts.phases()) == ["counts", "foundation", "tuned"]
    parts.phases.cache_clear()


def test_an_ending_is_shown_with_the_points_that_the_people_of_the_lab_give(phases):
    said = parts.endings_of(parts.stories()[0])
    assert said["tuned"] == said["after feedback"]  # the same weights, here
    shown = str(parts.ending_table(0))
    assert " ".join(said["tuned"][:-1]) in shown
    assert parts.mean_gold()["counts"] < 0 < parts.mean_gold()["tuned"]


def test_every_visitor_is_a_voter_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = parts.vote(), parts.vote()
    for box in (one, other):
        box.since = 0.0
        box.give("first")
    assert len(one.file.voters()) == 2
    assert one.place == other.place == 1


def test_the_last_model_is_the_assistant_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_LM_STATES", str(tmp_path))
    few = Recipe(steps=2, rate=0.002)
    made = []
    monkeypatch.setattr(
        aligned, "make", lambda real=aligned.make: made.append(1) or real(8, few, few)
    )
    first, again = aligned.aligned(), aligned.aligned()
    reference = aligned.load(state_path("assistant"), aligned.task_vocabulary()).model
    assert made == [1]
    ends = [dict(model.named_parameters()) for model in (first, again, reference)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert any(not torch.equal(ends[0][name], ends[2][name]) for name in ends[0])
