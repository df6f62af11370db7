"""The poll: what it keeps when it is killed, what it refuses, and 300 phones at once."""

import asyncio
import base64
import contextlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from test_votes import PAIRS

from course_lm.classroom import ballots, poll_guard, poll_web
from course_lm.classroom.ballots import Ballots, Wish, read_room
from course_lm.classroom.phones import Phone, crowd
from course_lm.classroom.poll import card, own_address, poll
from course_lm.rlhf.preferences import FIRST, SECOND, SKIP, TIE, VOTES, Comparison, Prompt, labels
from course_lm.rlhf.votes import VoteFile
from course_lm.viewing.polling import poll_box, told
from course_lm.viewing.voting import ballot

ROOT = Path(__file__).parents[1]
FIVE = PAIRS[:5]
SENTENCE = re.compile(r"poll: expected [^;]+, got [^;]+; [^;]+")


@pytest.fixture
def hall(tmp_path):
    opened = poll(FIVE, tmp_path / "votes.jsonl")
    yield opened
    opened.close()


def run(work):
    """Do asynchronous work."""
    return asyncio.run(work)


def entered(hall):
    phone = Phone(hall.url)
    assert run(once(phone, phone.join, hall.room.code))[0] == 200
    return phone


async def once(phone, call, *arguments, **named):
    """One request on a connection of its own."""
    try:
        return await call(*arguments, **named)
    finally:
        phone.hang_up()


def vote(phone, place, choice):
    return run(once(phone, phone.vote, place, choice))


def send(phone, path, fields, **headers):
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return run(once(phone, phone.post, path, body, **headers))


def kept(path, pairs=FIVE):
    """voter -> votes, as an independent reader of the file finds them."""
    file = VoteFile(path, pairs)
    return {name: file.votes(name) for name in file.voters()}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line]


# -- votes


def test_every_phone_is_a_voter_of_its_own_and_its_votes_are_those_of_the_file(hall):
    one, other = entered(hall), entered(hall)
    for place, (mine, theirs) in enumerate([(FIRST, SECOND), (TIE, SKIP)]):
        assert vote(one, place, mine) == (200, {"stored": mine})
        assert vote(other, place, theirs) == (200, {"stored": theirs})
    votes = kept(hall.ballots.path)
    assert sorted(map(str, votes.values())) == sorted(
        map(str, ([FIRST, TIE, None, None, None], [SECOND, SKIP, None, None, None]))
    )
    assert hall.votes() == ([0, 0, 1, 1], [FIRST, SECOND, SKIP, TIE])
    assert labels(hall.votes()[1])[:2].tolist() == [0, 1]


def test_a_vote_is_forced_to_disk_before_it_is_acknowledged(hall, monkeypatch):
    phone, done, fsync = entered(hall), [], os.fsync

    def forced(handle):
        fsync(handle)
        done.append(hall.ballots.path.read_text().count("\n"))

    monkeypatch.setattr(os, "fsync", forced)
    for place in range(3):
        assert vote(phone, place, FIRST)[0] == 200
        assert max(done) == place + 1


def test_a_vote_that_the_disk_refuses_is_not_acknowledged_and_stored_when_it_comes_again(
    hall, monkeypatch
):
    phone, fsync = entered(hall), os.fsync

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for _ in range(2):  # the second finds the line of the first in the file, and must not trust it
        status, data = vote(phone, 0, FIRST)
        assert (status, phone.votes) == (503, {})
        assert SENTENCE.fullmatch(data["error"])
    assert "No space left" in hall.trouble
    assert send(phone, "join", {"room": hall.room.code})[1]["votes"] == {}
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(fsync(handle)))
    assert vote(phone, 0, FIRST) == (200, {"stored": FIRST})
    assert synced
    assert not hall.trouble
    assert hall.votes() == ([0], [FIRST])


def test_a_vote_found_at_the_start_is_forced_to_disk_before_it_is_acknowledged_again(
    tmp_path, monkeypatch
):
    Ballots(tmp_path / "votes.jsonl", FIVE).cast([Wish("phone 1", 0, FIRST, None)])
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(fsync(handle)))
    again = Ballots(tmp_path / "votes.jsonl", FIVE)
    assert synced
    assert again.cast([Wish("phone 1", 0, FIRST, None)]) == [FIRST]


def test_300_phones_at_once_lose_no_vote_and_double_none_and_share_their_writes(
    tmp_path, monkeypatch
):
    hall = poll(FIVE, tmp_path / "votes.jsonl")
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(fsync(handle)))
    given = [[VOTES[(number >> 2 * place) % 4] for place in range(3)] for number in range(300)]
    phones = crowd(hall.url, hall.room.code, given)
    hall.close()
    votes = [tuple(each[:3]) for each in kept(hall.ballots.path).values()]
    assert Counter(votes) == Counter(map(tuple, given))
    assert [list(phone.votes.values()) for phone in phones] == given
    assert len(lines(hall.ballots.path)) == 900
    assert len({line["by"] for line in lines(hall.ballots.path)}) == 300
    assert hall.counted == (300, 900)
    assert len(synced) < 900 / 2


def test_a_vote_that_comes_twice_counts_once_a_change_counts_and_a_late_copy_does_not(hall):
    phone = entered(hall)
    first = {"pair": phone.pairs[0]["id"], "vote": FIRST, "was": None}
    change = first | {"vote": SECOND, "was": FIRST}
    for fields in (first, first, change, change):
        assert send(phone, "vote", fields) == (200, {"stored": fields["vote"]})
    assert [line["vote"] for line in lines(hall.ballots.path)] == [FIRST, SECOND]
    status, data = send(phone, "vote", first)
    assert (status, data["stored"]) == (409, SECOND)
    assert SENTENCE.fullmatch(data["error"])
    assert hall.votes() == ([0], [SECOND])


def test_copies_that_wait_for_the_same_write_count_once(tmp_path):
    box = Ballots(tmp_path / "votes.jsonl", FIVE)
    a, b = Wish("phone 1", 0, FIRST, None), Wish("phone 1", 0, SECOND, None)
    assert box.cast([a, a, b, Wish("phone 2", 0, SECOND, None)]) == [FIRST, FIRST, FIRST, SECOND]
    assert len(lines(box.path)) == 2


def test_votes_that_another_writer_adds_are_kept_and_are_not_those_of_a_phone(hall):
    phone, file = entered(hall), VoteFile(hall.ballots.path, FIVE)
    vote(phone, 0, FIRST)
    file.add(1, SECOND, "the class")
    vote(phone, 2, TIE)
    assert file.votes() == [FIRST, SECOND, TIE, None, None]
    assert hall.votes() == ([0, 2], [FIRST, TIE])
    assert [len(line["by"]) for line in lines(hall.ballots.path)] == [22, 9, 22]


def test_it_answers_while_a_cell_computes(hall):
    given = [[FIRST, SECOND]] * 20
    done = threading.Thread(target=crowd, args=(hall.url, hall.room.code, given))
    done.start()
    matrix = torch.eye(64)
    while done.is_alive():
        matrix = matrix @ matrix
    assert len(hall.votes()[0]) == 40


def test_a_phone_sees_the_text_of_the_ballot(hall):
    odd = Comparison(Prompt(("<s>", "who", "?"), ("a", ".")), ("<s>",), ("<b>", "&"))
    for comparison in (odd, FIVE[0]):
        text, shown = str(ballot([comparison], [0])), card(comparison)
        assert [
            "A  " + shown["first"] in text,
            "B  " + shown["second"] in text,
            f"{shown['told']}\n{shown['asked']}".strip() in text,
        ] == [True] * 3


# -- a kernel that is killed, restarted, or shut down

KERNEL = """
import sys
sys.path.insert(0, "tests")
from test_votes import PAIRS
from course_lm.classroom.poll import poll
hall = poll(PAIRS[:5], sys.argv[1])
print(hall.url, hall.room.code, flush=True)
sys.stdin.read()
print("end")
"""


@contextlib.contextmanager
def kernel(path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", KERNEL, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as process:
        try:
            yield (process, *process.stdout.readline().split())
        finally:
            process.kill()


async def voting_until_it_is_killed(url, code, process):
    """20 phones vote and change their votes; the server is killed after 60 answers.

    phone -> the place and the vote that it had sent last and got no answer for.
    """
    flying, answers = {Phone(url): None for _ in range(20)}, 0

    async def one(phone):
        nonlocal answers
        await phone.join(code)
        with contextlib.suppress(OSError, EOFError):
            for turn in range(10_000):
                flying[phone] = turn % 5, VOTES[turn // 5 % 4]
                await phone.vote(*flying[phone])
                answers += 1
                if answers == 60:
                    process.kill()

    await asyncio.gather(*map(one, flying))
    for phone in flying:
        phone.hang_up()
    return flying


def test_a_kernel_killed_in_the_midst_of_votes_loses_none_and_the_phones_go_on(tmp_path):
    path = tmp_path / "votes.jsonl"
    with kernel(path) as (process, url, code):
        flying = run(voting_until_it_is_killed(url, code, process))
    assert sum(len(phone.seconds) for phone in flying) >= 60
    with kernel(path) as (process, *again):
        assert again == [url, code]
        for phone, (at, choice) in flying.items():
            names = [pair["id"] for pair in phone.pairs]
            acknowledged, standing = list(map(phone.votes.get, names)), kept(path)[voter(phone)]
            assert standing[at] in (acknowledged[at], choice)
            standing[at] = acknowledged[at]
            assert standing == acknowledged
            assert vote(phone, at, choice) == (200, {"stored": choice})  # sent again
            assert run(once(phone, phone.join, code))[0] == 200
        process.stdin.close()
        assert process.stdout.read() == "end\n"
        assert (process.stderr.read(), process.wait(20)) == ("", 0)
    votes = {voter(phone): [*map(phone.votes.get, names)] for phone in flying}
    assert kept(path) == votes


def voter(phone):
    """The name in a cookie, which is signed and not secret."""
    value = phone.headers["Cookie"].partition("=")[2].strip('"')
    return base64.b64decode(value.split("|")[4].partition(":")[2]).decode()


def test_the_poll_goes_on_in_the_same_kernel_and_closes_what_was_open(tmp_path):
    first = poll(FIVE, tmp_path / "votes.jsonl")
    phone = entered(first)
    vote(phone, 0, FIRST)
    second = poll(FIVE, tmp_path / "votes.jsonl")
    assert (first.is_open, second.is_open, first.url) == (False, True, second.url)
    assert vote(phone, 1, SECOND)[0] == 200
    second.close()
    second.close()
    assert second.votes() == ([0, 1], [FIRST, SECOND])
    with pytest.raises(OSError, match="Connect call failed"):
        vote(phone, 2, FIRST)


def test_it_closes_with_the_notebook(tmp_path):
    code = (
        "from course_lm.classroom.poll import poll\n"
        "from course_lm.classroom.recorded import COMPARISONS\n"
        "from course_lm.rlhf.preferences import read_comparisons\n"
        "from course_lm.viewing.polling import poll_box\n"
        "hall = poll(read_comparisons(COMPARISONS), 'votes.jsonl')\n"
        "display(poll_box(hall))\n"
        "print(hall.url, hall.room.code)"
    )
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(page, timeout=120, resources=resources)
    with client.setup_kernel(env=os.environ | {"PYTHONPATH": str(ROOT)}):
        client.execute_cell(page.cells[0], 0)
        (said,) = [o.text for o in page.cells[0].outputs if o.output_type == "stream"]
        url, room = said.split()
        crowd(url, room, [[FIRST]] * 3)
    port = int(re.search(r":(\d+)/", url)[1])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    assert (tmp_path / "votes.jsonl").read_text().count('"vote": "first"') == 3


# -- what is refused

GOOD = {"pair": "PAIR", "vote": FIRST, "was": None}
REFUSED = {
    "a forged cookie": (403, GOOD, {"Cookie": "forged"}),
    "no cookie": (403, GOOD, {"Cookie": ""}),
    "no token": (403, GOOD, {"X-Token": ""}),
    "a token that is none": (403, GOOD, {"X-Token": "2|1:0|é"}),
    "a request of another site": (403, GOOD, {"Origin": "http://evil.example"}),
    "a request of another port": (403, GOOD, {"Origin": "http://127.0.0.1:1"}),
    "a page without an origin": (403, GOOD, {"Origin": "null"}),
    "a browser that says cross-site": (403, GOOD, {"Sec-Fetch-Site": "cross-site"}),
    "a browser that says same-site": (403, GOOD, {"Sec-Fetch-Site": "same-site"}),
    "a name that was turned to this machine": (421, GOOD, {"Host": "evil.example"}),
    "no length": (411, GOOD, {"Content-Length": ""}),
    "a large body": (413, b"x" * 5000, {}),
    "a form": (415, GOOD, {"Content-Type": "application/x-www-form-urlencoded"}),
    "plain text": (415, GOOD, {"Content-Type": "text/plain"}),
    "no type": (415, GOOD, {"Content-Type": ""}),
    "no JSON": (400, b"{", {}),
    "no text": (400, b"\xff", {}),
    "deep JSON": (400, b"[" * 4000, {}),
    "a list": (400, ["pair", "vote", "was"], {}),
    "a field too many": (400, GOOD | {"by": "anna"}, {}),
    "a field too few": (400, {"pair": "PAIR", "vote": FIRST}, {}),
    "an unknown pair": (404, GOOD | {"pair": "7-abc"}, {}),
    "a pair by its number": (404, GOOD | {"pair": 0}, {}),
    "a pair that is a list": (404, GOOD | {"pair": []}, {}),
    "an unknown choice": (400, GOOD | {"vote": "both"}, {}),
    "a choice that is none": (400, GOOD | {"vote": None}, {}),
    "a choice that is a list": (400, GOOD | {"vote": [FIRST]}, {}),
    "an unknown vote before": (400, GOOD | {"was": {}}, {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_one_sentence_and_no_vote_is_stored(case, hall, caplog, capfd):
    status, fields, headers = REFUSED[case]
    phone = entered(hall)
    if isinstance(fields, dict) and fields.get("pair") == "PAIR":
        fields = fields | {"pair": phone.pairs[0]["id"]}
    if headers.get("Cookie") == "forged":
        ours = phone.headers["Cookie"]
        headers = {"Cookie": ours[:-5] + ("a" if ours[-5] != "a" else "b") + ours[-4:]}
    got, data = send(phone, "vote", fields, **headers)
    assert got == status
    assert SENTENCE.fullmatch(data["error"]), data
    assert not hall.ballots.path.exists()
    assert vote(phone, 0, FIRST)[0] == 200  # the same phone can go on
    assert (caplog.records, *capfd.readouterr()) == ([], "", "")  # nothing runs into the notebook


def test_the_token_of_another_voter_and_the_cookie_of_another_poll_are_refused(hall, tmp_path):
    one, other = entered(hall), entered(hall)
    one.headers["X-Token"] = other.headers["X-Token"]
    assert vote(one, 0, FIRST)[0] == 403
    elsewhere = poll(FIVE, tmp_path / "others.jsonl")
    stranger = Phone(elsewhere.url)
    stranger.headers |= {name: other.headers[name] for name in ("Cookie", "X-Token")}
    stranger.pairs = other.pairs
    assert vote(stranger, 0, FIRST)[0] == 403
    elsewhere.close()
    assert vote(other, 0, FIRST)[0] == 200


@pytest.mark.parametrize("code", ["", "bcdfgh", "é\ud800", 7, None, ["BCDFGH"]])
def test_a_wrong_room_code_lets_nobody_in(hall, code):
    phone = Phone(hall.url)
    status, data = send(phone, "join", {"room": code})
    assert (status, "Cookie" in phone.headers) == (403, False)
    assert SENTENCE.fullmatch(data["error"])


def test_a_room_code_can_be_typed_in_small_letters_and_with_spaces(hall):
    code = hall.room.code.lower()
    assert send(Phone(hall.url), "join", {"room": f" {code[:3]} {code[3:]} "})[0] == 200


def test_who_guesses_codes_has_to_wait_and_others_do_not_matter():
    doorman = poll_guard.Doorman("BCDFGH")
    for _ in range(poll_guard.GUESSES):
        with pytest.raises(poll_guard.Refusal) as refused:
            doorman.check("10.0.0.1", "XXXXXX")
        assert refused.value.status_code == 403
    with pytest.raises(poll_guard.Refusal) as refused:
        doorman.check("10.0.0.1", "BCDFGH")
    assert refused.value.status_code == 429
    doorman.check("10.0.0.2", "BCDFGH")
    doorman.window -= 1  # a minute later
    doorman.check("10.0.0.1", "BCDFGH")


def test_a_room_that_is_full_lets_nobody_else_in(hall, monkeypatch):
    monkeypatch.setattr(poll_web, "VOTERS", 2)
    phones = [entered(hall) for _ in range(2)]
    assert send(Phone(hall.url), "join", {"room": hall.room.code})[0] == 503
    assert send(phones[0], "join", {"room": hall.room.code})[0] == 200


def test_other_addresses_and_methods_are_refused_and_the_page_allows_its_own_script_alone(hall):
    answers = {}
    for method, path in (("GET", "/vote"), ("PUT", "/join"), ("GET", "/../votes.jsonl")):
        answers[method, path] = asked(hall, method, path)
    assert [status for status, *_ in answers.values()] == [405, 405, 404]
    assert all(SENTENCE.fullmatch(json.loads(body)["error"]) for _, _, body in answers.values())
    status, headers, body = asked(hall, "GET", "/")
    assert (status, body.decode()) == (200, poll_web.PAGE)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].count("sha256-") == 2
    assert "Set-Cookie" not in headers
    assert asked(hall, "GET", "/", {"Host": "evil.example"})[0] == 421


def asked(hall, method, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", hall.room.port, timeout=20)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_asks_nobody_else_for_anything_and_names_its_language():
    assert not re.search(r"(?:https?:)?//[\w.]", re.sub(r"^// .*$", "", poll_web.PAGE, flags=re.M))
    assert '<html lang="en">' in poll_web.PAGE
    assert "innerHTML" not in poll_web.PAGE


def test_the_cookie_stays_with_its_site_and_out_of_reach_of_scripts(hall):
    body = json.dumps({"room": hall.room.code})
    connection = http.client.HTTPConnection("127.0.0.1", hall.room.port, timeout=20)
    connection.request("POST", "/join", body, {"Content-Type": "application/json"})
    cookie = connection.getresponse().getheader("Set-Cookie")
    connection.close()
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


# -- opening


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_room_is_kept_for_its_owner_alone(hall):
    path = hall.ballots.path.with_name("votes.jsonl.room")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_room(hall.ballots.path) == hall.room
    assert set(hall.room.code) <= set(ballots.LETTERS)


@pytest.mark.parametrize("text", ["{", "[]", '{"code": "B", "secret": 7, "port": 1}', "\xff"])
def test_a_damaged_room_and_a_poll_on_nothing_are_named_in_a_sentence(tmp_path, text):
    (tmp_path / "votes.jsonl.room").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"^poll: expected the code, .*; remove that file"):
        poll(FIVE, tmp_path / "votes.jsonl")
    with pytest.raises(ValueError, match=r"^poll: expected at least one comparison, got none"):
        poll([], tmp_path / "others.jsonl")
    assert len(list(tmp_path.iterdir())) == 1


def test_an_address_that_cannot_be_had_is_named_in_a_sentence(hall, tmp_path):
    with pytest.raises(OSError, match=r"^poll: expected to listen at 127.0.0.1, .*; shut down"):
        poll(FIVE, tmp_path / "others.jsonl", port=hall.room.port)
    with pytest.raises(OSError, match=r"^poll: expected to listen at 192.0.2.1, .*; give an addr"):
        poll(FIVE, tmp_path / "others.jsonl", "192.0.2.1")
    assert not (tmp_path / "others.jsonl.room").exists()


def test_an_address_for_every_network_shows_one_that_phones_can_open(tmp_path):
    hall = poll(FIVE, tmp_path / "votes.jsonl", "0.0.0.0")
    assert hall.url == f"http://{own_address()}:{hall.room.port}/"
    assert vote(entered(hall), 0, FIRST)[0] == 200
    hall.close()


# -- the lecturer's view


def test_the_box_shows_the_way_in_the_count_and_closes_the_poll(hall):
    box = poll_box(hall)
    assert hall.url in box.invitation.value
    assert hall.room.code in box.invitation.value
    assert "Only this machine" in box.invitation.value
    assert "0 phones, 0 votes on 5 pairs" in box.picture.value
    vote(entered(hall), 0, FIRST)
    box.button.click()
    assert told(hall) == "The poll is closed: 1 phone, 1 vote on 5 pairs."
    assert told(hall) in box.picture.value
    assert (box.button.disabled, box.invitation.value) == (True, "")


def test_the_box_says_in_a_sentence_that_votes_cannot_be_stored(hall, monkeypatch):
    box, phone = poll_box(hall), entered(hall)

    def full(handle):
        raise OSError(28, "<No space>")

    monkeypatch.setattr(os, "fsync", full)
    vote(phone, 0, FIRST)
    assert "&lt;No space&gt;" in box.message.value
    monkeypatch.undo()
    vote(phone, 0, FIRST)
    hall.close()
    assert box.message.value == ""
