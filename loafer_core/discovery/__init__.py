"""Who is installed: plugins are found through entry points, imported, checked and asked, each by itself.

Read ``installed`` (entry points), ``loader`` (import and check, in the time limit of ``import_guard``), ``registry``
(names to components), ``name_clashes`` and ``builtin`` (the core's own plugin). ``describe`` puts components into
words, with values from ``samples``.

May import ``delivery`` and what lies below it; it knows no route at work.
"""
