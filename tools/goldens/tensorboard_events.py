"""Event records by tensorboard's own protobuf classes and record writer, and a check that tensorboard reads a run of ours.

python tools/goldens/tensorboard_events.py packages/train/test/data/tensorboard.json
python tools/goldens/tensorboard_events.py --read RUN_FOLDER     # prints what tensorboard reads there
"""

import base64
import io
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

TIME = 1_700_000_000.25


def framed(event):
    file = io.BytesIO()
    file.close = lambda: None
    RecordWriter(file).write(event.SerializeToString())
    return base64.b64encode(file.getvalue()).decode()


def scalars(step, values):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return Event(wall_time=TIME, step=step, summary=summary)


def records():
    yield "version", Event(wall_time=TIME, file_version="brain.Event:2")
    yield "start", Event(wall_time=TIME, step=501, session_log=SessionLog(status=SessionLog.START))
    values = [("loss", 2.345678), ("seconds/data", 1e-3), ("grad_norm", float("inf")), ("größe", float("inf"))]
    yield "scalars", scalars(3, values)
    yield "far", scalars(2**40, [("loss", -0.5)])


def read(folder):
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    for tag in sorted(events.Tags()["scalars"]):
        print(tag, [(event.step, event.value) for event in events.Scalars(tag)])


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        read(sys.argv[2])
    else:
        made = [{"name": name, "bytes": framed(event)} for name, event in records()]
        with open(sys.argv[1], "w") as file:
            json.dump({"records": made}, file, indent=1)
            file.write("\n")
