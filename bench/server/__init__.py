"""An SQS on loopback that costs little: standard queues in memory, exact counters, messages made on demand."""
