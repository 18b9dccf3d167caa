"""What the page's modules give that need no page, run by node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "gateway/console"


def test_the_modules_do_what_is_said_of_them(tmp_path: Path) -> None:
    """A copy, since node tells modules by a package.json, which the wheel has no need of."""
    folder = Path(shutil.copytree(PAGE, tmp_path / "console"))
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "modules.test.mjs", folder)
    done = subprocess.run(
        ["node", "--test", "modules.test.mjs"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout
