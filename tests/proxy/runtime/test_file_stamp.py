"""A file that was written or replaced has another stamp, also behind a link that was turned."""

import os
from pathlib import Path

from thoughtgate_proxy.runtime.file_stamp import FileStamp


def test_a_file_that_stays_keeps_its_stamp(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    assert FileStamp.of(file) == FileStamp.of(file) is not None


def test_writing_replacing_and_removing_change_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    seen = {FileStamp.of(file)}
    file.write_text("longer")
    seen.add(FileStamp.of(file))
    os.utime(file, ns=(1, 1))
    seen.add(FileStamp.of(file))
    other = tmp_path / "other"
    other.write_text("longer")
    os.utime(other, ns=(1, 1))
    other.replace(file)
    seen.add(FileStamp.of(file))
    file.unlink()
    assert FileStamp.of(file) is None
    assert len(seen) == 4


def test_a_link_that_turns_to_another_folder_changes_it(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text("same")
        os.utime(tmp_path / version / "token", ns=(1, 1))
    link = tmp_path / "..data"
    link.symlink_to("one")
    before = FileStamp.of(link / "token")
    link.unlink()
    link.symlink_to("two")
    assert FileStamp.of(link / "token") != before
