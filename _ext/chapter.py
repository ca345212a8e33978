"""Build one chapter with the book's own settings: python _ext/chapter.py chapters/principles/the-cliff.md"""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_book.sphinx import build_sphinx

BIBLIOGRAPHY = "chapters/reference/bibliography"


def main(chapter: Path, root: Path) -> int:
    """Build `chapter`, and the bibliography that its citations link to, into _build/one/<name>/ and say where it is; the exit status is Sphinx's."""
    page = chapter.resolve().relative_to(root).with_suffix("")
    target, work = root / "_build/one" / page.name, root / "_build/one/.work" / page.name
    work.mkdir(parents=True, exist_ok=True)
    toc = work / "_toc.yml"
    others = f"chapters: [{{file: {BIBLIOGRAPHY}}}]\n" if (root / f"{BIBLIOGRAPHY}.md").exists() else ""
    toc.write_text(f"format: jb-book\nroot: {page.as_posix()}\n{others}")
    settings = {"external_toc_path": str(toc), "nitpicky": True, "lossbook_cache_root": str(work / "executed"), "latex_individualpages": False}
    status = build_sphinx(
        root, target, noconfig=True, path_config=root / "_config.yml", confoverrides=settings, doctreedir=work / "doctrees", quiet=True
    )
    print(target / page.with_suffix(".html"))
    return int(status != 0)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("Name one chapter: make chapter CHAPTER=chapters/principles/the-cliff.md")
    sys.exit(main(Path(sys.argv[1]), Path(__file__).resolve().parent.parent))
