"""Where workers start and where they refuse: what the kernel says of a mount, and what lies around it."""

from __future__ import annotations

import io
import os
import pwd
from pathlib import Path

import pytest

from job_orchestration.cli.main import main
from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.workspace import layout, lock_probe
from job_orchestration.workspace.layout import VARIABLE
from tests.faults.workspace_files import tree

LOCAL_LOCKS = "is on an NFS mount with local locks, which every machine grants to itself."
HOW_TO_MOUNT = "Mount it with vers=4.2 and without nolock and local_lock."
MOVE = "Move the workspace to a local disk or to an NFS version 4 mount."

TRUSTED = {
    "ext4": "ext4 /dev/sda1 rw,errors=remount-ro",
    "xfs": "xfs /dev/sdb1 rw,attr2,inode64",
    "btrfs": "btrfs /dev/sdc1 rw,space_cache=v2,subvolid=256,subvol=/@home",
    "tmpfs": "tmpfs tmpfs rw,size=65536k",
    "overlay": "overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d",
    "nfs 4.2": "nfs4 filer:/export rw,vers=4.2,hard,proto=tcp,sec=sys,local_lock=none,addr=10.0.0.1",
    "nfs 4.2, posix locks local": "nfs4 filer:/export rw,vers=4.2,local_lock=posix,addr=10.0.0.1",
    "nfs 3 with a lock manager": "nfs filer:/export rw,vers=3,hard,mountproto=udp,local_lock=none",
}
REFUSED = {
    "nfs 3 nolock": ("nfs filer:/export rw,vers=3,hard,nolock,proto=tcp,local_lock=all", LOCAL_LOCKS),
    "nfs 3 nolock alone": ("nfs filer:/export rw,vers=3,nolock", LOCAL_LOCKS),
    "nfs 3 local flock": ("nfs filer:/export rw,vers=3,local_lock=flock", LOCAL_LOCKS),
    "nfs 4 all local": ("nfs4 filer:/export rw,vers=4.0,local_lock=all", LOCAL_LOCKS),
    "cifs": ("cifs //filer/share rw,vers=3.1.1,cache=strict", "cifs"),
    "sshfs": ("fuse.sshfs you@lab:/data rw,user_id=1000", "fuse.sshfs"),
    "rclone": ("fuse.rclone drive: rw,user_id=1000", "fuse.rclone"),
    "s3fs": ("fuse.s3fs s3fs rw,user_id=1000", "fuse.s3fs"),
    "9p": ("9p host rw,trans=virtio", "9p"),
    "something unheard of": ("newfs /dev/x rw", "newfs"),
}


@pytest.fixture
def prepared(tmp_path):
    return layout.prepare(str(tmp_path / "lab" / "workspace"))


@pytest.fixture
def mounted(monkeypatch, prepared):
    """Lets the kernel say that the workspace lies on another mount: ``mounted("nfs4 filer:/x rw")``."""

    def say(source: str) -> None:
        device = os.stat(prepared.root).st_dev
        here = f"{os.major(device)}:{os.minor(device)}"
        text = (
            "21 1 0:999 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
            "22 21 0:5 / /dev rw,nosuid\n"  # half a line is no mount
            f"36 21 {here} /sub /data/my\\040lab rw,noatime shared:7 master:2 - {source}\n"
            f"37 21 {here} / /elsewhere rw - fuse.nonsense x rw\n"
        )
        monkeypatch.setattr(lock_probe, "open", lambda *_args, **_kw: io.StringIO(text), raising=False)

    return say


@pytest.mark.parametrize("mount", TRUSTED.values(), ids=TRUSTED)
def test_locks_are_trusted_where_every_machine_asks_the_same_kernel(prepared, mounted, mount):
    mounted(mount)
    lock_probe.require_locks(prepared)


@pytest.mark.parametrize(("mount", "why"), REFUSED.values(), ids=REFUSED)
def test_a_mount_with_other_locks_is_refused_with_what_to_do(prepared, mounted, mount, why):
    mounted(mount)
    with pytest.raises(WorkspaceError) as caught:
        lock_probe.require_locks(prepared)
    unknown = f"is on a file system of type {why}, whose locks are not known to work between machines. {MOVE}"
    wanted = f"{why} {HOW_TO_MOUNT}" if why == LOCAL_LOCKS else unknown
    assert str(caught.value) == f"{prepared.root} {wanted}"


def test_a_file_system_that_the_kernel_does_not_list_is_tried(prepared, monkeypatch):
    """Btrfs says another device to `stat` than to the list of mounts; a Mac has no such list."""
    monkeypatch.setattr(lock_probe, "open", lambda *_a, **_k: io.StringIO("not a list"), raising=False)
    lock_probe.require_locks(prepared)

    def refuse(*_args: object, **_kw: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(lock_probe, "open", refuse, raising=False)
    lock_probe.require_locks(prepared)


@pytest.mark.parametrize(
    ("marker", "service"),
    [
        (".dropbox", "Dropbox"),
        (".dropbox.cache/", "Dropbox"),
        (".stfolder/", "Syncthing"),
        (".nextcloudsync.log", "Nextcloud"),
        (".owncloudsync.log", "ownCloud"),
        (".SyncArchive/", "Resilio Sync"),
    ],
)
@pytest.mark.parametrize("above", [0, 1])
def test_a_folder_that_is_synchronised_is_refused(prepared, marker, service, above):
    place = Path(prepared.root, *[".."] * above, marker)
    place.mkdir() if marker.endswith("/") else place.touch()
    with pytest.raises(WorkspaceError) as caught:
        lock_probe.require_locks(prepared)
    what = f"{prepared.root} lies in a folder of {service}, which does not keep locks."
    assert str(caught.value) == f"{what} {MOVE}"


def test_the_settings_of_dropbox_in_a_home_say_nothing_about_the_folders_in_it(prepared):
    Path(prepared.root, "..", ".dropbox").mkdir()
    lock_probe.require_locks(prepared)


def test_a_lock_that_is_granted_twice_is_refused(prepared, monkeypatch):
    monkeypatch.setattr(lock_probe.fcntl, "flock", lambda *_: None)
    with pytest.raises(WorkspaceError, match=r"A lock in .* was granted twice\. Move the workspace to"):
        lock_probe.require_locks(prepared)


def test_locks_that_are_not_to_be_had_are_not_taken_for_busy_ones(prepared, monkeypatch):
    def no_lock_manager(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock_probe.fcntl, "flock", no_lock_manager)
    with pytest.raises(WorkspaceError, match=r"cannot be locked: No locks available\. Move the workspace"):
        lock_probe.require_locks(prepared)


def test_the_probe_leaves_no_descriptor_and_changes_nothing(prepared):
    before = tree(Path(prepared.root)), os.listdir("/proc/self/fd")
    lock_probe.require_locks(prepared)
    assert (tree(Path(prepared.root)), os.listdir("/proc/self/fd")) == before


# -- the worker ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("work", "--until-idle"), ("work", "--until-idle", "--workers", "2")])
def test_a_worker_refuses_to_start_with_one_sentence_of_what_and_one_of_what_to_do(cli, workspace, words):
    (workspace / ".stfolder").mkdir()
    before = tree(workspace)
    done = cli(*words, check=4)
    said = f"{done.stderr}{done.stdout}".splitlines()
    wanted = f"{workspace} lies in a folder of Syncthing, which does not keep locks. {MOVE}"
    assert said
    assert all(line.endswith(wanted) for line in said)
    assert len(said) == (2 if "--workers" in words else 1)
    assert tree(workspace) == before


def test_a_worker_refuses_to_start_on_a_mount_with_local_locks(prepared, mounted, monkeypatch, capsys):
    mounted("nfs filer:/export rw,vers=3,nolock,local_lock=all")
    monkeypatch.setenv(VARIABLE, prepared.root)
    assert main(["work", "--until-idle"]) == 4
    captured = capsys.readouterr()
    assert captured.err == f"{prepared.root} {LOCAL_LOCKS} {HOW_TO_MOUNT}\n"
    assert not captured.out


def test_readers_and_ready_need_no_locks_between_machines(prepared, mounted, monkeypatch, capsys):
    mounted("cifs //filer/share rw")
    monkeypatch.setenv(VARIABLE, prepared.root)
    assert main(["status"]) == 0
    assert main(["ready"]) == 0
    assert not capsys.readouterr().err


# -- who else may write --------------------------------------------------------------------------------------


def test_a_workspace_of_ones_own_is_no_reason_to_warn(prepared):
    assert lock_probe.others_may_write(prepared) is None


@pytest.mark.parametrize("folder", ["", "ConfigSources", "ConfigsToRun", "Running", "Output", "Misc"])
def test_a_folder_that_everybody_may_write_to_is_warned_about(prepared, folder):
    path = Path(prepared.root, folder)
    path.chmod(0o777)
    assert lock_probe.others_may_write(prepared) == (
        f"Everybody may write to {path}, and so run code as you: chmod go-w it."
    )


def test_a_group_with_others_in_it_is_warned_about_and_ones_own_is_not(prepared, monkeypatch):
    path = Path(prepared.root, "ConfigSources")
    path.chmod(0o775)
    me = pwd.getpwuid(os.getuid()).pw_name

    def group(name: str, *members: str) -> str | None:
        found = type("Group", (), {"gr_name": name, "gr_mem": list(members)})
        monkeypatch.setattr(lock_probe.grp, "getgrgid", lambda _: found)
        return lock_probe.others_may_write(prepared)

    warning = f"The group of {path} may write to it, and so run code as you: chmod g-w it."
    assert group(me) is None
    assert group(me, me) is None
    assert group(me, "somebody") == warning
    assert group("lab") == warning


def test_a_worker_says_the_warning_once_and_works(cli, workspace):
    workspace.chmod(0o777)
    done = cli("work", "--until-idle")
    assert done.stdout.count(f"Everybody may write to {workspace}, and so run code as you") == 1
