"""Put in front of the installed one where a consumer shall run on asyncio's own loop."""

raise ImportError("the bench runs this consumer without uvloop")
