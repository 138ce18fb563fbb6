import gzip
import io
import os
import tarfile
import zipfile

import pytest

from limner.core.errors import DataError, UsageError
from limner.data import collection as module
from limner.data.collection import open_collection, shown

FILES = {"b/two.txt": b"2", "a.txt": b"one", "b/one.txt": b"11"}


def _folder(path):
    for name, data in FILES.items():
        (path / "things" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "things" / name).write_bytes(data)
    return path / "things"


def _zip(path, files=FILES):
    with zipfile.ZipFile(path / "things.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path / "things.zip"


def _tar(path, files=FILES, ending=".tar", mode="w"):
    with tarfile.open(path / f"things{ending}", mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path / f"things{ending}"


MAKERS = {
    "folder": _folder,
    "zip": _zip,
    "tar": _tar,
    "tar.gz": lambda path: _tar(path, ending=".tar.gz", mode="w:gz"),
    "tar.bz2": lambda path: _tar(path, ending=".tbz", mode="w:bz2"),
    "tar.xz": lambda path: _tar(path, ending=".tar.xz", mode="w:xz"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_all_kinds_hold_the_same(make, tmp_path):
    found = open_collection(make(tmp_path), "things")
    members = found.members()
    assert [member.name for member in members] == sorted(FILES) and found.name == "things"
    read = {}
    for member, opener in found.each(members[1:]):
        with opener() as file:
            read[member.name] = file.read()
    assert read == {name: FILES[name] for name in sorted(FILES)[1:]}
    assert found.refused == []


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_stamp_tells_of_changes(make, tmp_path):
    path = make(tmp_path)
    before = list(open_collection(path, "").stamp())
    assert before == list(open_collection(path, "").stamp())
    os.utime(path / "a.txt" if path.is_dir() else path, ns=(0, 0))
    assert before != list(open_collection(path, "").stamp())


EVIL = [".", "../out.png", "a/../../out.png", "/etc/out.png", "..\\out.png", "C:\\out.png", "\\out.png"]


@pytest.mark.parametrize("make", [_zip, _tar])
@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_leads_out_is_refused(make, name, tmp_path):
    found = open_collection(make(tmp_path, {"good.png": b"x", name: b"evil"}), "")
    assert [member.name for member in found.members()] == ["good.png"]
    ((refused, reason),) = found.refused
    assert refused == shown(name) and reason == "has a name that leads out of the archive: passed over"


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"x{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("./good.png"))
    found = open_collection(path, "")
    assert [member.name for member in found.members()] == ["good.png"]
    assert found.refused == [(f"x{kind}.png", "is a link or a special file: passed over") for kind in (2, 1, 6, 3)]


def _linked(path, links, ending=".tar", mode="w"):
    """A tar of a file and hard links, (name, target) each."""
    with tarfile.open(path / f"t{ending}", mode) as archive:
        info = tarfile.TarInfo("./a/one.png")
        info.size = 1000
        archive.addfile(info, io.BytesIO(bytes(range(250)) * 4))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            archive.addfile(info)
    return open_collection(path / f"t{ending}", "")


@pytest.mark.parametrize(("ending", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_hard_links_in_a_tar_are_the_files_that_they_name(tmp_path, ending, mode):
    found = _linked(tmp_path, [("b/two.png", "./a/one.png"), ("three.png", "b/two.png")], ending, mode)
    members = found.members()
    assert [member.name for member in members] == ["a/one.png", "b/two.png", "three.png"] and found.refused == []
    for wanted in (members, members[1:], members[2:]):
        seen = [(member, opener().read(), opener().read()) for member, opener in found.each(wanted)]
        assert seen == [(member, bytes(range(250)) * 4, bytes(range(250)) * 4) for member in wanted]


def test_hard_links_lead_nowhere_but_to_what_came_before(tmp_path):
    links = [("late.png", "later.png"), ("later.png", "./a/one.png"), ("../out.png", "later.png"), ("me.png", "me.png")]
    found = _linked(tmp_path, links)
    assert [member.name for member in found.members()] == ["a/one.png", "later.png"]
    assert [name for name, _ in found.refused] == ["late.png", "../out.png", "me.png"]


def test_many_hard_links_to_one_file_are_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SLACK", 0)
    monkeypatch.setattr(module, "_RATIO", 1)
    links = [(f"{i}.png", "./a/one.png") for i in range(100)]
    assert len(_linked(tmp_path, links[:5]).members()) == 6
    with pytest.raises(DataError, match="would unpack to more than"):
        _linked(tmp_path, links).members()


@pytest.mark.parametrize("make", [_zip, _tar])
def test_a_colon_is_no_way_out(make, tmp_path):
    found = open_collection(make(tmp_path, {"shot 12:30.png": b"x", "b:/c.png": b""}), "")
    assert [member.name for member in found.members()] == ["shot 12:30.png"]
    assert [name for name, _ in found.refused] == ["b:/c.png"]


def test_links_in_a_zip_are_passed_over(tmp_path):
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.png", b"x")
    found = open_collection(path, "")
    assert [member.name for member in found.members()] == ["good.png"]
    assert found.refused == [("link.png", "is a link or a special file: passed over")]


def test_links_to_folders_and_pipes_are_not_followed(tmp_path):
    folder = _folder(tmp_path)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "file.txt").symlink_to(folder / "a.txt")
    (folder / "gone.txt").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.txt")
    found = open_collection(folder, "")
    assert [member.name for member in found.members()] == sorted([*FILES, "file.txt"])
    assert found.refused == [("loop", "is a link to a folder: not followed")]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_not_read(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SLACK", 1 << 20)
    zeros = {"a.png": bytes(16 << 20), "b.png": b""}
    path = _zip(tmp_path, zeros) if kind == "zip" else _tar(tmp_path, zeros, ".tar.gz", "w:gz")
    with pytest.raises(DataError) as error:
        open_collection(path, "").members()
    assert str(error.value) == (
        f"the archive {path} would unpack to more than 200 times its size, so it is not read\n"
        "hint: if you trust it, unpack it yourself and give the folder"
    )


def test_stepping_back_in_a_zip_reads_nothing_anew(tmp_path, monkeypatch):
    """A TIFF may ask for its first and its last bytes in turn, 65,535 times."""
    read, through = [], zipfile.ZipExtFile._read1
    monkeypatch.setattr(zipfile.ZipExtFile, "_read1", lambda file, n: read.append(n) or through(file, n))
    found = open_collection(_zip(tmp_path, {"a.tif": bytes(1 << 20)}), "")
    for _, opener in found.each(found.members()):
        with opener() as file:
            once = len(read)
            for _ in range(20):
                file.seek(-1, io.SEEK_END)
                assert file.read(1) == b"\0"
                file.seek(0)
                assert file.read(1) == b"\0"
    assert len(read) == once


def test_a_tar_header_that_asks_for_much_memory_is_refused(tmp_path):
    """A long-name header of 4 GiB: tarfile alone would read all of it."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    (tmp_path / "t.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(DataError, match="would unpack to more than"):
        open_collection(tmp_path / "t.tar", "").members()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_that_is_cut_short_is_named(kind, tmp_path):
    path = MAKERS[kind](tmp_path)
    path.write_bytes(path.read_bytes()[: 2048 if kind == "tar" else -20])
    with pytest.raises((DataError, UsageError)) as error:
        open_collection(path, "things").members()
    if kind == "zip":  # its directory is at the end: without it, it is no zip
        assert error.value.message == "things is a file, but neither a zip nor a tar archive of pictures"
    else:
        assert error.value.message.startswith(f"the archive {path} is damaged or cut short (")
        assert error.value.hint == "copy or download it again"


def test_every_cut_of_an_archive_is_a_sentence(tmp_path):
    for kind in ("zip", "tar", "tar.gz"):
        path = MAKERS[kind](tmp_path)
        whole = path.read_bytes()
        for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
            path.write_bytes(whole[:length])
            try:
                open_collection(path, "things").members()
            except (DataError, UsageError):
                pass


def test_another_file_is_a_wrong_use(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError) as error:
        open_collection(tmp_path / "photo.jpg", "./photo.jpg")
    assert str(error.value) == (
        "./photo.jpg is a file, but neither a zip nor a tar archive of pictures\n"
        "hint: give the folder that holds the pictures, or an archive of it"
    )
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(DataError, match=r"text.gz is damaged or cut short"):
        open_collection(tmp_path / "text.gz", "").members()


def test_what_a_terminal_might_obey_is_escaped():
    assert shown("größe 猫.png") == "größe 猫.png"
    assert shown("a\x1b[31m\n\udce4.png") == "a\\x1b[31m\\n\\udce4.png"
