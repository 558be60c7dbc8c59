"""Write the sample acquisition of this folder again: ``python sample_data/generate.py [FOLDER]``."""

import hashlib
import sys
from pathlib import Path

from fibtomo.phantom import write_sample

HERE = Path(__file__).resolve().parent
NAME = "nanoporous-silver"


def generate(folder: Path) -> None:
    """Write slices and ground truth into `folder`, and ``SHA256SUMS`` of them beside it."""
    write_sample(NAME, folder, size="tiny", seed=0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(folder.parent).as_posix()}\n" for f in files
    ]
    (folder.parent / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    if len(sys.argv) > 2 or any(word.startswith("-") for word in sys.argv[1:]):
        raise SystemExit(__doc__)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / NAME
    generate(target)
    print(f"wrote {target}")
