"""Pages that other software makes from sources of their own: what ``scripts/assets/make_foreign_pages.py`` is made of.

Nothing here shares words, layouts or code with ``llava/pages``. ``words`` makes up what stands on a page; ``papers``,
``lists``, ``reports``, ``office``, ``plots`` and ``specs`` say what each page shows and what is asked about it;
``templates/`` holds the sources, ``programs`` turns them into PDFs, and ``finding`` looks up where on the finished page
the answers stand.
"""
