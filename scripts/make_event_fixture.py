#!/usr/bin/env python3
"""Write the event file that specclip-lab's own writer must equal byte for byte.

TensorBoard's protobuf messages and record writer make it, so that neither the framing
nor the encoding is specclip's.

Needs:  pip install tensorboard
Usage:  python3 scripts/make_event_fixture.py
"""

import pathlib

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "crates" / "specclip-lab" / "tests" / "fixtures" / "events.out.tfevents.scalars"

# Times, steps and values that crates/specclip-lab/src/events/tests.rs has too.
STEPS = [
    (1700000000.25, 0, [("train/loss", 2.3125), ("norm/conv1", 1.893)]),
    (1700000001.5, 1, [("train/loss", 0.0)]),
    (1700000002.75, 300, [("train/loss", float("inf")), ("test/accuracy", 0.9569)]),
    (1700000003.0, 5_000_000_000, [("größe", -1e-30)]),
]


def main():
    """Write the fixture."""
    events = [Event(wall_time=1700000000.0, file_version="brain.Event:2")]
    for time, step, values in STEPS:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=x) for tag, x in values])
        events.append(Event(wall_time=time, step=step, summary=summary))
    with OUTPUT.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
    print(f"{OUTPUT.relative_to(ROOT)}: {len(events)} events, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
