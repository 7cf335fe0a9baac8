"""vps_health.probes.disk: how full the file systems on real devices are."""

from types import SimpleNamespace


def volume(blocks, free, available, frsize=4096):
    # The preferred transfer size differs from the unit of the counts, as on network disks.
    return SimpleNamespace(
        f_bsize=1048576, f_frsize=frsize, f_blocks=blocks, f_bfree=free, f_bavail=available
    )


def statvfs_of(volumes):
    def statvfs(path):
        try:
            return volumes[str(path)]
        except KeyError:
            raise OSError(f"no such mount: {path}") from None

    return statvfs


def test_a_reading(proc):
    from vps_health.probes import disk

    proc.write("mounts", "/dev/vda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n")
    reading = disk.read(proc.root, statvfs=statvfs_of({"/": volume(1000, 400, 350)}))
    assert reading == {
        "used_percent": 63.2,  # of what users can have, as df counts: 600 / (600 + 350)
        "mounts": [
            {
                "mount": "/",
                "device": "/dev/vda1",
                "type": "ext4",
                "total_bytes": 1000 * 4096,
                "used_bytes": 600 * 4096,
                "free_bytes": 350 * 4096,
                "used_percent": 63.2,
            }
        ],
    }


def test_the_fullest_decides(proc):
    from vps_health.probes import disk

    proc.write("mounts", "/dev/vda1 / ext4 rw 0 0\n/dev/vdb /data xfs rw 0 0\n")
    volumes = {"/": volume(100, 90, 90), "/data": volume(100, 5, 5, frsize=512)}
    reading = disk.read(proc.root, statvfs=statvfs_of(volumes))
    assert reading["used_percent"] == 95.0
    assert [m["mount"] for m in reading["mounts"]] == ["/", "/data"]


def test_escaped_mount_points(proc):
    from vps_health.probes import disk

    proc.write("mounts", "/dev/sdb1 /mnt/my\\040disk\\134x ext4 rw 0 0\n")
    reading = disk.read(proc.root, statvfs=statvfs_of({"/mnt/my disk\\x": volume(10, 5, 5)}))
    assert reading["mounts"][0]["mount"] == "/mnt/my disk\\x"


def test_a_device_counts_once_at_its_shortest_mount_point(proc):
    from vps_health.probes import disk

    proc.write("mounts", "/dev/vda1 /var/lib/x ext4 rw 0 0\n/dev/vda1 / ext4 rw 0 0\n")
    volumes = {"/": volume(10, 5, 5), "/var/lib/x": volume(10, 5, 5)}
    mounts = disk.read(proc.root, statvfs=statvfs_of(volumes))["mounts"]
    assert [m["mount"] for m in mounts] == ["/"]


def test_what_cannot_be_asked_is_left_out(proc):
    from vps_health.probes import disk

    proc.write(
        "mounts", "/dev/vda1 / ext4 rw 0 0\n/dev/vdc /gone ext4 rw 0 0\n/dev/loop0 /e ext4 rw 0 0\n"
    )
    volumes = {"/": volume(10, 5, 5), "/e": volume(0, 0, 0)}
    mounts = disk.read(proc.root, statvfs=statvfs_of(volumes))["mounts"]
    assert [m["mount"] for m in mounts] == ["/"]


def test_no_device_at_all(proc):
    from vps_health.probes import disk

    assert disk.read(proc.root) == {"used_percent": 0.0, "mounts": []}


def test_the_real_proc():
    from vps_health.probes import disk

    for mount in disk.read()["mounts"]:
        assert 0 <= mount["used_percent"] <= 100
        assert mount["used_bytes"] <= mount["total_bytes"]
