"""Turns the files that Git knows into a list of what looks like a secret in them; exit code 1 where there is one.

`python .ci/leaks.py [FILE ...]`: of the files that are named, or of all. A secret that is none, as the key that every
storage emulator has, is named below by its digest, so that it does not look like one here.
"""

import hashlib
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_WORD = r"[A-Za-z0-9+/_=.~-]"
PATTERNS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:\s|\\n|\\r)*([A-Za-z0-9+/=\s\\]{100,})",
    "a key of a storage account": rf"\b(?i:AccountKey|SharedAccessKey)=({_WORD}{{40,}})",
    "a shared access signature": r"[?&;]sig=([A-Za-z0-9%+/]{40,})",
    "a token": r"\b(eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,})",
    "a client secret of Entra": r"(?<![\w~.-])([\w~.-]{3}8Q~[\w~.-]{31,34})(?![\w~.-])",
    "a key of a cloud or forge": r"\b((?:AKIA|ASIA)[0-9A-Z]{16}|(?:gh[oprsu]|npm)_\w{36}|github_pat_\w{22,})\b",
    "a password": rf"(?i:key|passw(?:or)?d|secret|token)[\"']?\s*[:=]\s*[\"']({_WORD}{{24,}})[\"']",
}
ENTROPY = 4.0
"""Bits a character of what follows `password =`; words and names of settings have less."""
FILES = re.compile(r"(^|/)(\.env(\..+)?|local\.settings\.json|id_[a-z0-9]+|[^/]+\.(pem|pfx|p12|key|jks))$")
PUBLIC = {
    "0011cc25eb4320717494d2703e8cba85743e71b500283c21c8b88147992f9059",
}
"""SHA-256 of what may stand here: the key that every storage emulator has."""


def secrets_in(name: str, text: str) -> list[str]:
    """What looks like a secret in a file: its line and its kind, and never itself."""
    found = [f"{name}: a file of this name holds secrets"] if FILES.search(name) else []
    for kind, pattern in PATTERNS.items():
        for match in re.finditer(pattern, text):
            secret = match[1]
            if kind == "a password" and _entropy(secret) < ENTROPY:
                continue
            digest = hashlib.sha256(secret.encode()).hexdigest()
            if digest not in PUBLIC:
                found.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {kind} (SHA-256 {digest})")
    return found


def _entropy(text: str) -> float:
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def main(names: list[str]) -> int:
    """Look through the files and print what was found."""
    if not names:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
        names = [name for name in listed.stdout.split("\0") if name]
    found = []
    for name in names:
        path = ROOT / name
        if path.is_file():
            found += secrets_in(name, path.read_text(errors="replace"))
    print("\n".join(found) or f"No secrets in {len(names)} files.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
