.PHONY: chapter
PYTHON := .venv/bin/python

## chapter CHAPTER=chapters/principles/the-cliff.md   build one chapter alone into _build/one/
chapter:
	@$(PYTHON) _ext/chapter.py $(CHAPTER)
