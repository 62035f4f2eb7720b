"""A stand-in for `llm` and `qwen`, put on PATH under their names: it keeps every question, and answers as it is told.

What is faked: a program that says its version, reads a question from stdin and answers with plain text. Beside it lie
the files that say how: `answer-2.md` for the second question and `answer.md` for every other one, in which
`{question}` stands for what was asked; `slow`, so that it takes a second, in which others can see it; `hang`, so that
it starts a process of its own and waits for ever; `fail`, so that it says what is in it and fails. It leaves
`question-1.md` and so on, and in `pids` its own number and that of what it has started. Nothing thinks here.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def number():
    """Give the number of this question, also where many come at once."""
    for candidate in range(1, 1000):
        try:
            os.close(os.open(HERE / f"question-{candidate}.md", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        return candidate
    raise SystemExit(1)


def main():
    if "--version" in sys.argv:
        print("llm, version 0.36" if Path(__file__).name == "llm" else "0.24.4")
        return
    this = number()
    question = sys.stdin.buffer.read()
    (HERE / f"question-{this}.md").write_bytes(question)
    if (HERE / "slow").exists():
        time.sleep(1)
    if (HERE / "hang").exists():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with (HERE / "pids").open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        time.sleep(600)
    if (HERE / "fail").exists():
        raise SystemExit((HERE / "fail").read_text(encoding="utf-8"))
    special = HERE / f"answer-{this}.md"
    answer = (special if special.exists() else HERE / "answer.md").read_bytes()
    sys.stdout.buffer.write(answer.replace(b"{question}", question))


if __name__ == "__main__":
    main()
