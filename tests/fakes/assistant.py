"""A stand-in for the command-line programs of assistants, run as `python assistant.py MODE [their own arguments]`.

What is faked: a program that reads a question from stdin and answers as `llm` does, with plain text, or misbehaves in
one of the ways that real ones do. Nothing thinks here.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def start_another():
    """Start a process that would outlive this one, and note both numbers where the program lies."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(__file__).with_name("pids").write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")


def echo():
    """Answer with all that the program can know of its call."""
    prompt = sys.stdin.buffer.read().decode()
    here = Path.cwd()
    known = {"prompt": prompt, "arguments": sys.argv[2:], "environment": dict(os.environ), "cwd": str(here)}
    print(json.dumps({**known, "files": list(map(str, here.iterdir())), "tty": sys.stdin.isatty()}))


def answer():
    sys.stdin.buffer.read()
    print("FORTY-TWO")


def without_reading():
    print("FORTY-TWO")


def steering():
    sys.stdout.write("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1bcok\u202e\u200b \x9b1mbold\r\n\tend\x00\x07")


def not_utf8():
    sys.stdout.buffer.write(b"caf\xe9 \xff ok")


def large():
    print("x" * 100_000)


def endless():
    while True:
        sys.stdout.write("y" * 65536)


def noisy():
    sys.stderr.write("warning\n" * 100_000)
    print("FORTY-TWO")


def hang():
    start_another()
    sys.stdin.buffer.read()
    time.sleep(600)


def hang_deaf():
    """Neither read the question nor take notice of polite signals."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start_another()
    time.sleep(600)


def leave_a_child():
    """Answer and end, and leave a process behind that keeps the output open."""
    start_another()
    print("FORTY-TWO")


def hopeless():
    sys.stderr.write("trying\nAttempt 2 failed\n")
    sys.stderr.flush()
    time.sleep(600)


def crash():
    sys.stdout.flush()
    os.abort()


def complain():
    """Repeat the question, then say what is in the file `complaint` and fail."""
    sys.stderr.write(sys.stdin.buffer.read().decode())
    sys.stderr.write("\n" + Path(__file__).with_name("complaint").read_text(encoding="utf-8"))
    sys.exit(1)


def empty():
    print("\x1b[0m \n")


def write_files():
    Path("made.py").write_text("print()\n", encoding="utf-8")
    Path(tempfile.gettempdir(), "notes").mkdir()
    Path(tempfile.gettempdir(), "notes", "log.txt").write_text("x", encoding="utf-8")
    print("FORTY-TWO")


def version():
    """Say a version that is in the file `version`, and answer otherwise."""
    print(Path(__file__).with_name("version").read_text(encoding="utf-8") if "--version" in sys.argv else "FORTY-TWO")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
