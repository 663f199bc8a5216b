"""Who is installed: plugins are found through entry points, imported, checked and asked, each by itself.

Read ``installed`` (entry points), ``loader`` (import and check), ``registry`` (names to components) and ``builtin``
(the core's own plugin); ``describe`` puts components into words.

May import ``delivery`` and what lies below it; it knows no route at work.
"""
