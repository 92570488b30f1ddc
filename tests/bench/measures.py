"""Every measure, in the order in which they run: its name, its function, whether `--quick` has it
(None: only a run that names it), and about how many minutes it takes. What a measure does is said above its function; each takes the Bench,
adds rows to its table, and returns all its numbers for bench.json.
"""

import app
import back
import busy
import costs
import latency
import moving
import size
import year

ALL = [
    ("baseline", latency.baseline, True, 0.1),
    ("quiet", latency.quiet, True, 6.5),
    ("full_speed", app.full_speed, True, 5.0),
    ("full_speed_s3", latency.full_speed_s3, False, 1.0),
    ("app_500", app.app_500, True, 3.5),
    ("slow_disk", app.slow_disk, True, 3.0),
    ("truncate", app.truncate, True, 2.5),
    ("truncate_two", app.truncate_two, False, 2.5),
    ("busy", busy.busy, None, 27.0),
    ("memory", size.memory, True, 1.2),
    ("idle", size.idle, False, 7.0),
    ("twenty_apps", size.twenty_apps, False, 0.8),
    ("thousand", size.thousand, False, 2.5),
    ("restore_near", back.restore_near, True, 3.5),
    ("restore_v3", back.restore_v3, False, 1.5),
    ("restore_far", back.restore_far, True, 2.5),
    ("restart", back.restart, True, 1.5),
    ("outage", back.outage, True, 2.5),
    ("requests", costs.requests, True, 0.3),
    ("costs", costs.costs, False, 4.5),
    ("year", year.year, False, 9.0),
    ("recover", moving.recover, False, 1.0),
]
