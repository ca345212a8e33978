"""Build the book, or one chapter of it, with warnings as errors and every reference checked.

python _ext/build.py                                      the book, into _build/html/
python _ext/build.py --links                              nothing: asks every link to another site whether it still answers
python _ext/build.py chapters/principles/the-cliff.md     that chapter alone, quickly, into _build/one/the-cliff/; its warnings are only shown
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jupyter_book.sphinx import build_sphinx

ROOT = Path(__file__).resolve().parent.parent
BIBLIOGRAPHY = "chapters/reference/bibliography"


def build(target: Path, work: Path, toc: Path, **options: Any) -> bool:
    """Run Sphinx as jupyter-book configures it; True where it ends well."""
    drop_leftover(target)
    settings = {
        "external_toc_path": str(toc),
        "nitpicky": True,
        "latex_individualpages": False,
        "lossbook_cache_root": str(work / "executed"),
    }
    status = build_sphinx(
        ROOT, target, noconfig=True, path_config=ROOT / "_config.yml", confoverrides=settings, doctreedir=work / "doctrees", quiet=True, **options
    )
    return status == 0


def drop_leftover(target: Path) -> None:
    """Of a first build that failed sphinx-exercise leaves a file by the name of the folder `_static`, and no later build gets past it."""
    if (target / "_static").is_file():
        (target / "_static").unlink()


def build_book() -> bool:
    """The whole book."""
    target = ROOT / "_build/html"
    print("Building the book; pages whose code or package changed are executed, as many at a time as there is room for.", flush=True)
    done = build(target, ROOT / "_build/work", ROOT / "_toc.yml", warningiserror=True, keep_going=True)
    print(f"\nThe book: {(target / 'index.html').as_uri()}\nor, served: make serve" if done else "\nThe book was not built: see the warnings above.")
    return done


def check_links() -> bool:
    """Every address outside the book, asked with the network that this machine has; the pages' outputs come from the book's own cache."""
    return build(ROOT / "_build/links", ROOT / "_build/work", ROOT / "_toc.yml", builder="linkcheck", warningiserror=True, keep_going=True)


def build_chapter(chapter: Path) -> bool:
    """One chapter, with the bibliography that its citations link to."""
    page = chapter.resolve().relative_to(ROOT).with_suffix("")
    target, work = ROOT / "_build/one" / page.name, ROOT / "_build/one/.work" / page.name
    work.mkdir(parents=True, exist_ok=True)
    toc = work / "_toc.yml"
    others = f"chapters: [{{file: {BIBLIOGRAPHY}}}]\n" if (ROOT / f"{BIBLIOGRAPHY}.md").exists() else ""
    toc.write_text(f"format: jb-book\nroot: {page.as_posix()}\n{others}")
    done = build(target, work, toc)
    print(target / page.with_suffix(".html"))
    return done


def main(arguments: list[str]) -> bool:
    """What the module's docstring says."""
    if arguments in ([], ["--links"]):
        return check_links() if arguments else build_book()
    if len(arguments) > 1 or not Path(arguments[0]).is_file():
        print("Name one chapter: make chapter CHAPTER=chapters/principles/the-cliff.md")
        return False
    return build_chapter(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
