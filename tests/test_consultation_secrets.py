"""Secrets of many kinds, seeded wherever an error may carry them: none is kept, shown, sent or logged."""

from __future__ import annotations

import os

import pytest

from desk import Desk, questions
from rtx50_autoload.troubleshooter.redaction import Identity, redact
from test_redaction import SECRETS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the terminals of these tests are those of POSIX")

TEXT = "CUDA error: no kernel image is available for execution on the device"
#: Those that are known by their form; names of people and machines are known on their own machine only.
SEEDS = [
    (kind, secret, text)
    for kind, secret, template in SECRETS
    for text in [template.format(secret) if "{}" in template else template]
    if secret not in redact(text, Identity()).text
]
#: As many as fit into a question whole.
BATCHES = [SEEDS[start : start + 12] for start in range(0, len(SEEDS), 12)]
#: Repeats all that it was asked, in a script, too.
ECHO = "You asked:\n````text\n{question}\n````\n```bash\ncat <<'END_OF_QUESTION'\n{question}\nEND_OF_QUESTION\n```\n"

CRASH = f"""
import os, sys, torch
text = open(os.environ["SEEDS"], encoding="utf-8").read()
def load(path):
    raise RuntimeError({TEXT!r} + "\\n" + text + "\\n" + {TEXT!r})
load(text)
"""


@pytest.fixture
def desk(with_fake_torch, tmp_path):
    desk = Desk(with_fake_torch, tmp_path)
    desk.variables |= {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0", "RTX50_ASSISTANT": "llm", "RTX50_AI": "auto"}
    return desk


def seeded(desk, batch):
    """Write a batch into a file, and give the file and an environment that holds it, too."""
    file = desk.folder / "seeds.txt"
    file.write_text("\n".join(text for _, _, text in batch) + "\n", encoding="utf-8")
    environ = {f"MY_SECRET_{number}": secret for number, (_, secret, _) in enumerate(batch)}
    urls = [text for _, _, text in batch if "://" in text and "\0" not in text]
    return file, {**environ, "SEEDS": str(file), "PIP_INDEX_URL": next(iter(urls), ""), "CUDA_HOME": batch[0][2]}


def leaks(texts):
    """Give the secrets that stand in texts, and where."""
    return [(kind, secret, name) for name, text in texts.items() for kind, secret, _ in SEEDS if secret in text]


def test_there_are_enough_of_them():
    assert len(SEEDS) >= 60
    assert len({kind for kind, _, _ in SEEDS}) >= 20


@pytest.mark.parametrize("batch", BATCHES, ids=range(len(BATCHES)))
def test_after_a_crash_none_is_in_the_question_the_incident_the_answer_or_the_script(desk, batch):
    llm = desk.put("llm", ECHO)
    _, environ = seeded(desk, batch)
    result = desk.run_python("-c", CRASH, **environ)
    assert "Asking llm" in result.stderr
    # Its script holds what stands in the place of secrets, and so goes back once.
    assert len(questions(llm)) == 2
    kept = desk.kept()
    places = {"incidents", "answers", "scripts"}
    assert {part for name in kept for part in name.split("/") if part in places} == places
    assert leaks({"questions": "\n".join(questions(llm)), "said": result.stderr.partition("Asking")[2], **kept}) == []
    # All of the error was there, without them.
    assert questions(llm)[0].count("<") >= len(batch)


@pytest.mark.parametrize("batch", BATCHES[:2], ids=range(2))
def test_from_a_file_none_is_in_anything_that_is_sent_or_kept(desk, batch):
    llm = desk.put("llm", ECHO)
    file, environ = seeded(desk, batch)
    text = file.read_text(encoding="utf-8")
    file.write_text(f"RuntimeError: {TEXT}\n{text}RuntimeError: {TEXT}\n", encoding="utf-8")
    shown = desk.run("troubleshoot", str(file), "--show-prompt", **environ)
    answered = desk.run("troubleshoot", str(file), **environ)
    assert questions(llm)[0] == shown.stdout
    assert leaks({"questions": "\n".join(questions(llm)), "said": shown.stderr + answered.stderr, **desk.kept()}) == []
    assert "taken out: " in shown.stderr


def test_none_is_in_the_log_of_a_script_nor_in_the_question_that_tells_of_it(desk):
    file, environ = seeded(desk, BATCHES[0])
    llm = desk.put("llm", f"```bash\ncat {file}\n```\n")
    error = desk.folder / "error.txt"
    error.write_text(f"RuntimeError: {TEXT}\n", encoding="utf-8")
    desk.run("troubleshoot", str(error))
    (script,) = [name for name in desk.kept() if name.endswith(".sh")]
    with desk.command("scripts", "run", script.rpartition("/")[2].removesuffix(".sh"), **environ) as terminal:
        terminal.expect("[y/N]")
        terminal.type("y\n")
        terminal.end()
    assert any(name.endswith(".log") for name in desk.kept())
    desk.run("troubleshoot", "--last", "--assistant", "llm")
    assert "script of that answer was run, and printed" in questions(llm)[1]
    assert leaks({"question": questions(llm)[1], **desk.kept()}) == []
