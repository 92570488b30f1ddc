"""A host that is lost: how long another one needs to have all of its databases back."""

import json
import os
import statistics
import subprocess

from common import big_database, mb
from replicators import Ours

HERE = os.path.dirname(os.path.abspath(__file__))


def manifest(app):
    """What the replicator of an app on Dokku writes beside its data."""
    return {
        "version": 1, "app": app, "database": "app.db", "storage": app + "--db",
        "container_path": "/app/db", "owner": 32767, "mode": "0640",
    }


def make_replicas(bench, prefix, apps, megabytes):
    """So many replicas below a prefix of the bucket, each of a database of its own."""
    for number in range(apps):
        folder, target = bench.place("s3")
        target.place = f"{prefix}/app-{number}"
        replicator = Ours(bench, big_database(megabytes)(bench, folder), target).start()
        try:
            replicator.caught_up()
        finally:
            replicator.stop()
        path = folder + "/manifest"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(manifest(f"app-{number}"), f)
        bench.s3_client("put", bench.s3["BUCKET"], target.place + "/litestream.json", path)
        bench.remove(folder)


def recover(bench):
    """Ten apps of 50 MB each out of a bucket onto a host that has nothing but the plugin: `dokku
    litestream:recover --apply`, from the first listing until every claim is settled. Each run is a new host,
    which takes the replicas over from the one before."""
    if not bench.s3:
        bench.missing("recover", "no S3 server")
    apps, megabytes = bench.count(10, 3), bench.count(50, 5)
    make_replicas(bench, "recover", apps, megabytes)
    url = f"s3://{bench.s3['BUCKET']}/recover"
    found = []
    for _ in range(bench.count(3, 1)):
        done = subprocess.run(
            [HERE + "/recover.sh", url, str(apps)], capture_output=True, text=True, check=False,
            env=bench.env | {"BUILD": bench.build},
        )
        if done.returncode == 77:
            bench.missing("recover", done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise RuntimeError(f"recover.sh ended with {done.returncode}: {done.stderr[-800:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = statistics.median(r["seconds"] for r in found)
    bench.row(
        f"recover of {apps} apps with {mb(found[0]['bytes'] / apps)} each, s3", f"{seconds:.1f} s",
        goal="<= 20 s", ok=seconds <= 20,
    )
    return found
