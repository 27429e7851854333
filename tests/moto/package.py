"""Zips a directory in the form that `zip -r -y` has: package.py DIRECTORY PACKAGE.zip

Directories have entries of their own, links are kept as links, and each entry has its mode. It is written with Python's
own zip library, so that larder reads what another program wrote.
"""

import os
import stat
import sys
import zipfile

top, package = sys.argv[1:]
with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
    for root, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(directories + files):
            path = os.path.join(root, name)
            entry = zipfile.ZipInfo.from_file(path, os.path.relpath(path, top))
            if os.path.islink(path):
                entry = zipfile.ZipInfo(os.path.relpath(path, top), entry.date_time)
                entry.create_system = 3
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(entry, os.readlink(path))
            elif os.path.isdir(path):
                archive.writestr(entry, b"")
            else:
                entry.compress_type = zipfile.ZIP_DEFLATED
                with open(path, "rb") as file:
                    archive.writestr(entry, file.read())
