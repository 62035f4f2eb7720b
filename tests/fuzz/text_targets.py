"""Texts of errors: taken apart, classified, redacted, put into a question; and how a file of one is decoded."""

from __future__ import annotations

import io
import json
import re

from target import TESTS, Chooser, Target, text_of

from rtx50_autoload.cli import error_text
from rtx50_autoload.diagnosis.classifier import classify
from rtx50_autoload.diagnosis.normalise import HEAD, TAIL, normalise
from rtx50_autoload.diagnosis.situation import Gpu, Situation
from rtx50_autoload.installer.build_faults import asked_for
from rtx50_autoload.knowledge import read_tables
from rtx50_autoload.printable import printable
from rtx50_autoload.troubleshooter.prompt import compose
from rtx50_autoload.troubleshooter.redaction import Identity, redact
from rtx50_autoload.troubleshooter.redaction.rules import load_rules

_CATEGORIES = frozenset(read_tables("rtx50_autoload.diagnosis", "categories.toml")["category"])
_HERE = Situation(
    gpus=(Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"),),
    torch="2.9.1",
    torch_variant="cu128",
    system="linux",
    driver="580.95.05",
)
_SITUATIONS = (Situation(), _HERE)
#: What logs put before a line, as `normalise` knows it.
_PREFIXES = (
    "Nov 22 17:41:01 box comfyui[2211]: ",
    "2026-11-22T17:41:01+0100 box python3[2211]: ",
    "2026-11-22 17:41:01,465 - __main__ - INFO - ",
    "2026-11-22T17:41:01.123456789Z stderr F ",
    "(EngineCore_DP0 pid=79) ERROR 11-22 17:41:01 [core.py:719] ",
    "[rank0]: ",
    "vllm-1  | ",
)
#: A line that begins so may be taken for more of the prefix, or already holds as many as are taken off.
_LIKE_A_PREFIX = re.compile(r"[\s|>]*(?:[A-Za-z(\[#>\d*-]|\\)")
_ACTIVE = re.compile(r"[\n\r\x00-\x08\x1b]")


def check_classify(data):
    choose = Chooser(data)
    situation, prefix = choose.one_of(_SITUATIONS), choose.one_of(_PREFIXES)
    text = text_of(choose.rest())
    normal = normalise(text)
    assert len(normal.flat) == len(normal.lower) == len(normalise(text).flat)
    for line, start in zip(normal.lines, normal.starts, strict=True):
        assert normal.flat[start : start + len(line)] == line == normal.line_at(start)
        assert normal.line_start(start + len(line) - 1) == start
    diagnosis = classify(text, situation)
    assert classify(text, situation) == diagnosis
    assert diagnosis.category in _CATEGORIES
    assert 0 <= diagnosis.confidence <= 1
    assert len(diagnosis.headline) <= 240
    json.dumps(diagnosis.as_json())
    for step in diagnosis.fix:
        for command in step.commands:
            assert not _ACTIVE.search(command), command
    prefixed = "\n".join(prefix + line for line in text.split("\n"))
    if normalise(prefixed).flat == normal.flat:
        assert classify(prefixed, situation).category == diagnosis.category
    else:
        # Only a line that itself looks like one that a log has written may be read otherwise behind a prefix.
        assert any(_LIKE_A_PREFIX.match(line) for line in re.split(r"[\n\r]|\\n", text)) or len(prefixed) > HEAD + TAIL
    asked_for(text, {})


def _reports():
    lines = (TESTS / "errors" / "reports.jsonl").read_text(encoding="utf-8").splitlines()
    seen = set()
    for line in lines:
        report = json.loads(line)
        if report["category"] not in seen:
            seen.add(report["category"])
            yield b"\1\0" + (report.get("message") or report["text"]).encode()[:1500]


_ERROR_WORDS = (
    *(b"CUDA error: no kernel image is available for execution on the device", b"sm_120", b"compute_120", b"12.0"),
    *(b"RuntimeError: ", b"Traceback (most recent call last):", b"is not compatible with the current PyTorch"),
    *(b"undefined symbol: ", b"cannot open shared object file", b"nvcc fatal : ", b"ptxas fatal", b"HIP error"),
    *(
        b"\x1b[31m",
        b"\\n",
        b"[rank0]: ",
        b" | ",
        b"> ",
        b"ERROR ",
        b"site-packages/",
        b".so",
        b"During handling of the",
    ),
    *(b"NVIDIA GeForce RTX 5090", b"torch 2.7.0+cu126", b"capability (", b"triton", b"xformers", b"flash_attn"),
)

# Put together here, so that no scanner of repositories takes them for real ones.
_MIXED = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8v"
_SECRETS = (
    ("sk-proj-" + _MIXED,) * 2,
    ("sk-" + _MIXED,) * 2,
    (f"sk-ant-api03-{_MIXED}",) * 2,
    (f"hf_{_MIXED}",) * 2,
    (f"ghp_{_MIXED}12345678",) * 2,
    (f"github_pat_11AB_{_MIXED}",) * 2,
    ("hunter2!x", "https://anna:hunter2!x@pypi.org/simple"),
    ("anna.mueller@firma-gmbh.de",) * 2,
    ("hunter2!x", "password=hunter2!x"),
    ("hunter2!x", "DB_PASSWORD='hunter2!x'"),
    (_MIXED, f"Authorization: Bearer {_MIXED}"),
    ("anna_m", "/home/anna_m/venv/bin/python"),
    ("anna_m", "C:\\Users\\anna_m\\venv"),
    ("192.168.178.44", "http://192.168.178.44:8188"),
    ("GPU-8f6b1c2d-1234-5678-9abc-def012345678",) * 2,
    ("amueller",) * 2,
    ("blackwell-box",) * 2,
)
_AROUND = (" ", "\n", "\t", "'", '"', "(", ", ", "; ", " = ", "\r\n", "<", " [")
_ANNA = Identity(users=("amueller",), hosts=("blackwell-box",), homes=("/srv/people/amueller",))


def check_redact(data):
    choose = Chooser(data)
    secret, carrier = choose.one_of(_SECRETS)
    before, after = choose.one_of(_AROUND), choose.one_of(_AROUND)
    place = 256 * choose.number(256) + choose.number(256)
    text = text_of(choose.rest())
    once = redact(text, _ANNA)
    twice = redact(once.text, _ANNA)
    # A text made for it may want more rounds than one call gives it.
    assert redact(twice.text, _ANNA) == twice
    assert len(once.text) <= 20 * len(text) + 100
    place %= len(text) + 1
    planted = f"{text[:place]}{before}{carrier}{after}{text[place:]}"
    if secret not in text:
        shown = redact(planted, _ANNA).text
        assert secret not in shown, shown


def _rules():
    for number, rule in enumerate(load_rules().rules):
        for text, _ in rule.examples:
            yield bytes((number % len(_SECRETS), number % len(_AROUND), 0, 0, 0)) + text.encode(
                "utf-8", "surrogateescape"
            )


_KEYWORDS = (
    *(
        b"password",
        b"token=",
        b"--token ",
        b"Authorization: ",
        b"Bearer ",
        b"https://",
        b"@",
        b"-----BEGIN PRIVATE KEY-----",
    ),
    *(
        b"/home/",
        b"C:\\Users\\",
        b"<secret>",
        b"<home>",
        b'\\"',
        b"machine ",
        b"login ",
        b"wandb ",
        b"curl -u ",
        b"ssh ",
    ),
    *(
        b"\xf4\x8f\x80\x80",
        b"sig=",
        b"&",
        b"?key=",
        b"Pwd=",
        b"://",
        b"-----END",
        b"None",
        b"$",
        b"{{",
        b"***",
        b"xoxb-",
    ),
)


def check_prompt(data):
    """What would be sent holds no secret, and no text can end the frame that it stands in."""
    choose = Chooser(data)
    secret, carrier = choose.one_of(_SECRETS[:9])
    text = text_of(choose.rest())
    error = f"{text}\n {carrier} \n{text}"
    prompt = compose(error, classify(error, _HERE), _HERE, tried=(text,), context=(text[:80],))
    if secret not in text:
        assert secret not in prompt.text
    assert printable(prompt.text) == prompt.text
    marker = prompt.text.partition("----- begin data ")[2][:16]
    assert prompt.text.count(f"----- end data {marker} -----") == 1
    assert compose(error, classify(error, _HERE), _HERE, tried=(text,), context=(text[:80],)) == prompt


def check_error_text(data):
    """A file of a text, in whatever encoding, is a text or is refused."""
    try:
        text = error_text._read(io.BytesIO(data), "x", "a text")
    except error_text.UnreadableTextError:
        return
    assert text.strip()
    text.encode("utf-8", "surrogatepass")


def _encoded():
    text = "RuntimeError: CUDA error\r\n"
    yield from (text.encode(), text.encode("utf-16"), text.encode("utf-16-be"), text.encode("utf-8-sig"), b"\0" * 40)
    yield text.encode("utf-16-le")


TARGETS = (
    Target("classify", check_classify, _reports, _ERROR_WORDS, 2048),
    Target("redact", check_redact, _rules, _KEYWORDS, 512),
    Target("prompt", check_prompt, _reports, (*_KEYWORDS, b"----- end data ", b"\n"), 1024),
    Target("error-text", check_error_text, _encoded, (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"), 512),
)
