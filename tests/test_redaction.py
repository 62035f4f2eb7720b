"""What is taken out of a text before it is stored, shown or sent, and what stays in it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx50_autoload.knowledge import read_tables
from rtx50_autoload.troubleshooter.redaction import Identity, environment_facts, redact
from rtx50_autoload.troubleshooter.redaction.rules import load_rules

NOBODY = Identity()
ANNA = Identity(users=("amueller", "Anna Müller"), hosts=("blackwell-box",), homes=("/srv/people/amueller",))

# Put together here, so that no scanner of repositories takes them for real ones.
LOWER = "q7w3e9r5t1y8u2i4o6p0"
MIXED = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8v"
HEX = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
PEM = "\n".join(
    ["-----BEGIN " + "RSA PRIVATE KEY-----", f"MIIE{MIXED}", f"{MIXED}+/w==", "-----END RSA PRIVATE KEY-----"]
)

#: Kind, what must not be seen anywhere, and how it is met.
SECRETS = [
    ("OpenAI key", f"sk-proj-{MIXED}", "openai.AuthenticationError: Incorrect API key provided: {}."),
    ("OpenAI key", "sk-" + MIXED, "OPENAI_API_KEY={}"),
    ("Anthropic key", f"sk-ant-api03-{MIXED}", "anthropic: invalid x-api-key {} (401)"),
    ("Google key", f"AIza{MIXED}1234567", "https://generativelanguage.googleapis.com/v1?key={}"),
    ("Google key", f"ya29.{MIXED}", "google.auth: {} has expired"),
    ("Hugging Face token", f"hf_{MIXED}", "huggingface_hub: 401 for token {}"),
    ("Hugging Face token", f"hf_{LOWER}{LOWER}", "HF_TOKEN={}"),
    ("GitHub token", f"ghp_{MIXED}12345678", "fatal: could not read from https://{}@github.com/a/b"),
    ("GitHub token", f"github_pat_11AB_{MIXED}", "gh: {} is not valid"),
    ("GitHub token", f"gho_{MIXED}12345678", "error: {}\n"),
    ("GitLab token", f"glpat-{LOWER}", "remote: HTTP Basic: Access denied {}"),
    ("AWS key", "AKIAQ7W3E9R5T1Y8U2I4", "botocore: The AWS Access Key Id {} does not exist"),
    ("AWS secret", f"wJalr/{MIXED}+bPxRfi", "AWS_SECRET_ACCESS_KEY={}"),
    ("AWS secret", f"{MIXED}/{LOWER[:11]}", "aws_secret_access_key = {}"),
    ("AWS token", f"FwoGZXIvYXdzE{MIXED}", "https://s3.amazonaws.com/b/k?X-Amz-Security-Token={}&X-Amz-Date=2026"),
    ("Azure key", f"{MIXED}{MIXED}{MIXED}ab==", "AccountName=x;AccountKey={};EndpointSuffix=core.windows.net"),
    ("Azure key", f"{MIXED[:3]}8Q~{MIXED}abcd_.", "AADSTS7000215: {}"),
    ("Azure key", "aB%2F3dE5fG7hJ9%3D", "https://x.blob.core.windows.net/w.whl?sv=2024-01-01&sig={}"),
    ("Slack token", f"xoxb-123456789012-{MIXED}", "slack_sdk.errors: {}"),
    ("Slack webhook", f"T0AB/B0CD/{MIXED}", "https://hooks.slack.com/services/{}"),
    ("Stripe key", f"sk_live_{MIXED}", "stripe: No such key {}"),
    ("npm token", f"npm_{MIXED}12345678", "//registry.npmjs.org/:_authToken={}"),
    ("PyPI token", f"pypi-AgEIcHlwaS5vcmc{MIXED}", "twine: 403 for {}"),
    ("JWT", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{LOWER}.{MIXED}", "jwt.exceptions: {} is expired"),
    ("Authorization", f"{MIXED}.{LOWER}", "> Authorization: Bearer {}"),
    ("Authorization", "YW5uYTpodW50ZXIyIQ==", "'Authorization': 'Basic {}'"),
    ("Authorization", LOWER, "curl -H 'authorization: token {}' https://api.github.com"),
    ("private key", MIXED, f"{PEM}  {{}}".replace("  {}", "")),
    ("private key", MIXED, json.dumps({"private_key": PEM}) + " {}".replace(" {}", "")),
    ("SSH key", f"AAAAB3NzaC1yc2E{MIXED}", "ssh-rsa {} anna@box"),
    ("URL credentials", "hunter2!", "pip._vendor.urllib3: https://anna:{}@pypi.org/simple"),
    ("URL credentials", "p@ss:w0rd", "postgresql://sa:{}@127.0.0.1:5432/db"),
    ("URL credentials", "s3/cr#t", "git+https://anna:{}@github.com/a/b.git@v1"),
    ("URL parameter", LOWER, "https://pypi.org/simple/x/?api_key={}&a=1"),
    ("URL parameter", LOWER, "GET /ws?token={} HTTP/1.1"),
    ("password", "correct horse battery", "DB_PASSWORD={}"),
    ("password", "hun'ter2", 'connect(user="root", password="{}")'),
    ("password", "hunter2", "password: {}"),
    ("password", "Sup3r,S3cret", "Server=127.0.0.1;Database=x;Uid=root;Pwd={};"),
    ("password", "hunter2", "mysql -u root -p{} db"),
    ("password", "hunter2", "sshpass -p {} ssh root@localhost"),
    ("password", "hunter2", '{{"passwd": "{}"}}'),
    ("password", "hunter2", "tool --db-password {} --verbose"),
    ("password", "hunter2", '"{{\\"password\\": \\"{}\\"}}"'),
    ("client secret", LOWER, "client_secret: {}"),
    ("W&B key", HEX + "01234567", "wandb: Appending key {} to your netrc"),
    ("W&B key", HEX + "01234567", "machine api.wandb.ai login user password {}"),
    ("W&B key", HEX + "01234567", "WANDB_API_KEY={}"),
    ("Kaggle key", HEX, '{{"username":"root","key":"{}"}}'),
    ("Docker auth", "YW5uYTpodW50ZXIyIQ==", '{{"auths": {{"docker.io": {{"auth": "{}"}}}}}}'),
    ("netrc", "hunter2", "machine github.com\n  login root\n  password {}\n"),
    ("cookie", f"{LOWER}; Path=/", "Set-Cookie: session={}"),
    ("e-mail address", "anna.mueller@firma-gmbh.de", "Author: Anna <{}>"),
    ("user name", "amueller", "sudo: {} : TTY=pts/0"),
    ("user name", "anna_m", "(venv) {}@localhost:~/x$ python train.py"),
    ("user name", "anna_m", 'File "/home/{}/venv/lib/python3.12/site-packages/torch/__init__.py", line 1'),
    ("user name", "Anna Müller", 'File "C:\\Users\\{}\\venv\\Lib\\site-packages\\torch\\__init__.py"'),
    ("user name", "ANNAMU~1", "C:\\Users\\{}\\AppData\\Local\\Temp\\x.cu"),
    ("user name", "anna_m", "/mnt/c/Users/{}/ComfyUI/main.py"),
    ("user name", "anna_m", "LD_LIBRARY_PATH=/usr/lib:/Users/{}/lib"),
    ("user name", "anna_m", "C:\\\\Users\\\\{}\\\\x.dll"),
    ("home", "/srv/people", "{}/amueller/venv/bin/python"),
    ("host name", "gpu-7.firma.internal", "ssh: connect to host {} port 22: Connection refused"),
    ("host name", "blackwell-box", "Jan 03 10:11:12 {} kernel: NVRM: Xid (PCI:0000:01:00): 31"),
    ("host name", "nexus.firma-gmbh.de", "ERROR: https://{}:8443/simple/torch/"),
    ("host name", "node17", "MASTER_ADDR={}"),
    ("network share", "nas01", "\\\\{}\\models\\flux.safetensors"),
    ("IP address", "192.168.178.44", "Listening on {}:8188"),
    ("IP address", "203.0.113.77", "connection from {}"),
    ("IP address", "fd12:3456:789a::1", "inet6 {}/64"),
    ("MAC address", "3c:7c:3f:1a:2b:4d", "link/ether {} brd"),
    ("GPU UUID", "GPU-8f6b1c2d-1234-5678-9abc-def012345678", "GPU 0: NVIDIA GeForce RTX 5090 (UUID: {})"),
]

#: Lines of programs in which nothing is anybody's secret.
HARMLESS = """\
RuntimeError: CUDA error: no kernel image is available for execution on the device
ImportError: _C.cpython-312-x86_64-linux-gnu.so: undefined symbol: _ZN3c104cuda9SetDeviceEa
GLIBCXX_3.4.32 not found, memcpy@GLIBC_2.14, foo@@VERS_1.1, bar@libcudart.so.12
`fa2F@2.5.7-pt`, `cutlassF-pt@0.0.0`: requires device with capability <= (9, 0) but yours has (12, 0)
nvidia-cublas-cu12==12.8.4.1 nvidia-curand-cu12==10.3.9.90 nvidia-cudnn-cu12 (9.10.2.21) TensorRT 10.9.0.34
torch 2.9.0.dev20250901+cu128, CUDA 12.8.0.1, driver 580.159.04, Windows 10.0.26100.1
nvcc -gencode arch=compute_120a,code=sm_120a --expt-relaxed-constexpr -DTORCH_API_INCLUDE_EXTENSION_H
xformers @ git+https://github.com/facebookresearch/xformers@8354497deb2c04c67fbb2e2ad911e86530da0e90
sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
ptxas error : Instruction 'tcgen05.mma' not supported on .target 'sm_120'; mov.u32 %r1, %tid.x;
21:56:26.048 [rank0]: NCCL INFO 0000:41:00.0 pid 31337 tid 140213 at 0x7f3a2b1c4d5e
tokenizer.pad_token_id=2, max_new_tokens=512, eos_token='</s>', special tokens have been added
TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES=0,1 PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
key : shape=(1, 61, 8, 256) (torch.bfloat16)
pip install --index-url https://download.pytorch.org/whl/cu128 torch --trusted-host pypi.org
http://127.0.0.1:8188 and http://localhost:7860 in /usr/lib/wsl/lib, /usr/local/cuda-12.8
HEAD@{1} at::Tensor c10::Half std::vector<int> dead::beef threading.local() a @ b
root@localhost:/workspace# python train.py
d47d1ba3-bc52-4d04-b425-ce08a91d84df
[XFORMERS] pkg_resources is deprecated, user defined kernels; host compiler: g++; password authentication
login(token=token) ; token = get_token() ; export HF_TOKEN=$MY_TOKEN
"""


@pytest.mark.parametrize("rule", load_rules().rules, ids=lambda rule: rule.id)
def test_each_rule_does_what_its_examples_say(rule):
    for before, after in rule.examples:
        assert redact(before, NOBODY).text == after
    assert any(f"<{rule.kind}>" in after for _, after in rule.examples)


def test_the_rules_have_names_of_their_own_and_kinds_enough():
    rules = load_rules().rules
    assert len({rule.id for rule in rules}) == len(rules)
    assert len({rule.kind for rule in rules}) >= 20
    assert set(load_rules().kept) <= {kind for rule in rules for kind in (rule.kind, rule.second)}


def test_the_seeds_are_as_many_as_they_should_be():
    assert len(SECRETS) >= 60
    assert len({kind for kind, *_ in SECRETS}) >= 20


@pytest.mark.parametrize(("kind", "secret", "template"), SECRETS, ids=itertools.count())
def test_no_seeded_secret_is_left_in_a_text(kind, secret, template):
    text = template.format(secret) if "{}" in template else template
    assert secret in text, kind
    for around in (text, f"before\n{text}\nafter", json.dumps(text), repr(text), f"[rank0]: {text}"):
        redacted = redact(around, ANNA)
        assert secret not in redacted.text
        assert redacted.counts


def test_no_seeded_secret_is_left_in_one_text_of_them_all():
    text = "\n".join(template.format(secret) if "{}" in template else template for _, secret, template in SECRETS)
    redacted = redact(text, ANNA)
    assert [secret for _, secret, _ in SECRETS if secret in redacted.text] == []
    assert sum(redacted.counts.values()) >= len(SECRETS)


def test_no_seeded_secret_is_left_of_an_environment():
    names = [
        f"{prefix}{number}"
        for number, prefix in enumerate(
            itertools.islice(
                itertools.cycle(("SECRET_", "NVIDIA_", "TORCH_", "CUDA_", "MY_", "XFORMERS_TOKEN_")), len(SECRETS)
            )
        )
    ]
    environ = dict(zip(names, (secret for _, secret, _ in SECRETS), strict=True))
    urls = [template.format(secret) for _, secret, template in SECRETS if "://" in template]
    allowed = ("LD_LIBRARY_PATH", "PYTHONPATH", "CUDA_HOME", "VIRTUAL_ENV", "PIP_INDEX_URL", "CFLAGS", "LD_PRELOAD")
    for values in itertools.zip_longest(*[iter(urls)] * len(allowed), fillvalue=""):
        facts = environment_facts({**environ, **dict(zip(allowed, values, strict=True))}, ANNA)
        assert facts.keys() <= set(allowed)
        assert [secret for _, secret, _ in SECRETS if any(secret in value for value in facts.values())] == []


def test_of_an_environment_only_known_variables_are_given():
    environ = {
        "CUDA_VISIBLE_DEVICES": "0",
        "RTX50_MODE": "auto",
        "NVIDIA_API_KEY": "x",
        "TORCH_ANYTHING": "y",
        "HOME": "/home/anna",
        "VIRTUAL_ENV": "/home/anna/venv",
        "PATH": "/home/anna/bin:/usr/local/cuda/bin:/home/anna/venv/bin:/usr/bin",
    }
    assert environment_facts(environ, NOBODY) == {
        "CUDA_VISIBLE_DEVICES": "0",
        "PATH": "/usr/local/cuda/bin:<home>/venv/bin",
        "RTX50_MODE": "auto",
        "VIRTUAL_ENV": "<home>/venv",
    }


def test_no_variable_that_may_be_shown_looks_like_a_secret():
    for name in read_tables("rtx50_autoload.troubleshooter.redaction", "variables.toml")["variables"]:
        for line in (f"{name}=/usr/lib/x", f"export {name}=/usr/lib/x", f"'{name}': '/usr/lib/x'", f"{name}: x1"):
            assert redact(line, NOBODY).text == line


@pytest.mark.parametrize("line", HARMLESS.splitlines())
def test_what_is_nobodys_secret_stays(line):
    assert redact(line, NOBODY).text == line
    assert not redact(line, NOBODY).counts


def test_the_names_of_the_machine_and_the_user_are_taken_out_wherever_they_stand():
    text = (
        "AMUELLER started it on Blackwell-Box.local (Anna Müller) in /srv/people/amueller/x and /srv/people/amueller2"
    )
    assert redact(text, ANNA).text == (
        "<user name> started it on <host name> (<user name>) in <home>/x and /srv/people/amueller2"
    )
    assert redact("amuellers blackwell-boxes", ANNA).text == "amuellers blackwell-boxes"


def test_ordinary_words_are_no_names():
    words = Identity(users=("root", "ubuntu", "me", "torch"), hosts=("localhost", "pc"))
    assert redact("root on ubuntu: torch on localhost, a pc for me", words).text == (
        "root on ubuntu: torch on localhost, a pc for me"
    )


def test_the_names_of_this_machine_are_taken_from_it(tmp_path):
    code = "from rtx50_autoload.troubleshooter.redaction import redact; print(redact('at zaphod7, zbeeblebrox:').text)"
    env = {"USER": "zbeeblebrox", "HOSTNAME": "zaphod7.heart-of-gold.example", "HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert result.stdout == "at <host name>, <user name>:\n"


def test_counts_say_how_many_placeholders_of_each_kind_there_are():
    redacted = redact("/home/a/x /home/b/y password=c", NOBODY)
    assert redacted.text == "<home>/x <home>/y password=<secret>"
    assert redacted.counts == {"secret": 1, "home": 2}


PIECES = [piece for rule in load_rules().rules for pair in rule.examples for piece in pair]
PIECES += ["<secret>", "<home>", "<", ">", "=", ":", "@", " ", "\n", "'", '"', "\\", "/", "\U0010f000", "é", "\ud800"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=12).map("".join))
def test_a_second_time_changes_nothing(text):
    once = redact(text, NOBODY)
    assert redact(once.text, NOBODY) == once


@given(st.lists(st.sampled_from(SECRETS), max_size=6), st.text(max_size=6))
def test_no_neighbour_brings_a_secret_back(seeds, between):
    text = f"\n{between}\n".join(
        template.format(secret) if "{}" in template else template for _, secret, template in seeds
    )
    redacted = redact(text, ANNA).text
    assert [secret for _, secret, _ in seeds if secret in redacted and secret not in between] == []


HOSTILE = [
    "a",
    "0",
    "/",
    "\\",
    "-",
    "_",
    ".",
    ":",
    "=",
    "@",
    '"',
    "'",
    " ",
    "\n",
    "a.",
    "a-",
    "a:",
    "0.",
    "0:",
    "/a",
    "a@",
    "@a",
    "http://",
    "x://a",
    "https://u:",
    "eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "Private-Lines: 1\n",
    "ssh-rsa AAAA",
    "authorization: ",
    "bearer ",
    "password",
    "password=",
    '"password": "',
    "token: ",
    "--token ",
    "--a-",
    "?a",
    "?key=",
    "A_",
    "API_KEY=",
    "curl ",
    "mysql ",
    "login a password ",
    "wandb ",
    "pypi-",
    "SG.",
    "/home/",
    "C:/Users/a ",
    "\\\\a\\",
    "ssh ",
    "ssh a@",
    "(a) ",
    "user=",
    "host=",
    "connect to ",
    "a.local",
    "10.",
    "fe80:",
    "0a:",
    "serial: ",
    '\\"',
    "<secret>",
]


@pytest.mark.costly
def test_the_time_grows_with_the_length_of_a_hostile_text_and_no_faster():
    def seconds(text):
        start = time.process_time()
        redact(text, NOBODY)
        return time.process_time() - start

    slow = []
    for unit in HOSTILE:
        short, long = (unit * (size // len(unit)) for size in (4_000, 32_000))
        # Eight times the text in eight times the time, sixty-four times where a rule looks at it again and again.
        if seconds(long) > 24 * max(min(seconds(short), seconds(short)), 0.01):
            slow.append(unit)
    assert slow == []


@pytest.mark.costly
def test_a_text_of_a_megabyte_made_against_the_rules_is_redacted():
    # A key that never ends would take the rest with it.
    text = (
        "".join(unit for unit in HOSTILE if "KEY-----" not in unit) + " hunter2 password=hunter3 /home/anna/x\n"
    ) * 3000
    assert len(text) > 1_000_000
    redacted = redact(text, NOBODY).text
    assert "hunter3" not in redacted
    assert "anna" not in redacted
