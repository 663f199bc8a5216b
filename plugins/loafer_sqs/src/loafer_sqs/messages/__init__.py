"""Messages on the wire: what SQS hands out, read into Loafer's messages, and what is sent, with its weight.

Read ``wire`` (in), then ``entries`` (out). No I/O.

May import ``options``.
"""
