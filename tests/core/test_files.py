"""Files that are whole or not there."""

import errno
import os
import stat

import pytest

from limner.core.files import write


@pytest.mark.skipif(os.name != "posix", reason="folders are not synced there")
def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    sync = os.fsync

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    write(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
