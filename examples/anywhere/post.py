"""A handler that does not know where its messages come from. Every file beside this one runs it unchanged."""

from pydantic import BaseModel

from loafer_core import Reject


class Letter(BaseModel):
    to: str
    stamps: int = 1


async def deliver(letter: Letter, metadata):
    if letter.stamps == 0:
        return Reject("no stamp")
    if letter.to == "the moon" and (metadata["receive_count"] or 1) == 1:
        raise ConnectionError("no rocket today")
    print(f"delivered to {letter.to}, {metadata['attributes'].get('colour', 'plain')}")
    return True
