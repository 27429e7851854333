//! What an entry is, and with which permissions: name, maker and external attributes (APPNOTE.TXT 4.4.15).

use super::central::Record;
use super::error::{Kind, UnpackError};

/// Makers whose external attributes hold a Unix mode in their upper half (4.4.2): Unix and macOS.
const UNIX_MAKERS: [u8; 2] = [3, 19];

const TYPE: u16 = 0o170_000;
const FIFO: u16 = 0o010_000;
const CHARACTER_DEVICE: u16 = 0o020_000;
const DIRECTORY: u16 = 0o040_000;
const BLOCK_DEVICE: u16 = 0o060_000;
const REGULAR: u16 = 0o100_000;
const LINK: u16 = 0o120_000;
const SOCKET: u16 = 0o140_000;

/// The bit of a directory in MS-DOS attributes.
const DOS_DIRECTORY: u32 = 0x10;

/// Read, write and execute bits. Setuid, setgid and sticky are no part of any mode that larder makes.
const PERMISSIONS: u16 = 0o777;

/// Decides what the entry is. Where a type is given, it must agree with the name: a reader that goes by the one and a reader that
/// goes by the other would see two packages.
pub(super) fn kind(record: Record<'_>, offset: u64) -> Result<Kind, UnpackError> {
    let by_name = if record.name().ends_with(b"/") {
        Kind::Directory
    } else {
        Kind::File
    };
    let doubtful = |by_attributes| UnpackError::KindDoubtful {
        entry: record.shown(),
        offset,
        by_name,
        by_attributes,
    };
    let unix = UNIX_MAKERS.contains(&record.maker());
    let mode = mode(record);
    let special = match mode & TYPE {
        FIFO => Some("FIFO"),
        CHARACTER_DEVICE => Some("character device"),
        BLOCK_DEVICE => Some("block device"),
        SOCKET => Some("socket"),
        // Types of other makers mean nothing known, unless they are what every reader would fear.
        0 | DIRECTORY | REGULAR | LINK => None,
        _ if unix => Some("file of an unknown type"),
        _ => None,
    };
    if let Some(what) = special {
        return Err(UnpackError::SpecialFile {
            entry: record.shown(),
            offset,
            what,
            mode,
        });
    }
    match (mode & TYPE, by_name) {
        (LINK, Kind::File) if unix => Ok(Kind::Symlink),
        // Some readers look at the maker first, some do not.
        (LINK, _) => Err(doubtful(Kind::Symlink)),
        (DIRECTORY, Kind::File) if unix => Err(doubtful(Kind::Directory)),
        // A backslash is an ordinary character, so this is a file by its name; a Windows packer that wrote
        // it as a directory wrote nothing into it.
        (_, Kind::File)
            if !unix
                && record.attributes() & DOS_DIRECTORY != 0
                && !record.name().ends_with(b"\\") =>
        {
            Err(doubtful(Kind::Directory))
        }
        _ => Ok(by_name),
    }
}

/// The permission bits with which it is made, before the umask.
pub(super) fn permissions(record: Record<'_>, kind: Kind) -> u16 {
    let default = if kind == Kind::Directory {
        0o755
    } else {
        0o644
    };
    if !UNIX_MAKERS.contains(&record.maker()) {
        return default;
    }
    let mode = mode(record);
    match (mode & TYPE, kind) {
        // Many packers leave the attributes empty.
        (0, _) if mode & PERMISSIONS == 0 => default,
        // A file's permissions on a directory would lock it.
        (REGULAR, Kind::Directory) => default,
        _ => mode & PERMISSIONS,
    }
}

/// The upper half of the external attributes.
fn mode(record: Record<'_>) -> u16 {
    (record.attributes() >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::tests::record;

    fn judge(name: &[u8], maker: u8, mode: u16, dos: u32) -> Result<(Kind, u16), String> {
        let bytes = record(name, maker, u32::from(mode) << 16 | dos);
        let record = Record::at(&bytes, 0, 0).unwrap();
        match kind(record, 0) {
            Ok(kind) => Ok((kind, permissions(record, kind))),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn kinds_and_permissions() {
        use Kind::{Directory, File, Symlink};
        for (name, maker, mode, dos, kind, permissions) in [
            (&b"a"[..], 3, 0o100_644, 0, File, 0o644),
            (b"a", 3, 0o100_755, 0, File, 0o755),
            (b"a", 3, 0o107_755, 0, File, 0o755),
            (b"a", 3, 0o600, 0, File, 0o600),
            (b"a", 3, 0o100_000, 0, File, 0),
            (b"a", 3, 0, 0, File, 0o644),
            (b"a", 3, 0o100_640, 0x10, File, 0o640),
            (b"a", 19, 0o100_750, 0, File, 0o750),
            (b"a", 0, 0o100_755, 0, File, 0o644),
            (b"a", 0, 0, 0x20, File, 0o644),
            (b"a\\", 0, 0, 0x10, File, 0o644),
            (b"a/", 3, 0o040_555, 0x10, Directory, 0o555),
            (b"a/", 3, 0o041_777, 0, Directory, 0o777),
            (b"a/", 3, 0o100_644, 0, Directory, 0o755),
            (b"a/", 3, 0, 0, Directory, 0o755),
            (b"a/", 0, 0, 0x10, Directory, 0o755),
            (b"a", 3, 0o120_777, 0, Symlink, 0o777),
        ] {
            let got = judge(name, maker, mode, dos);
            assert_eq!(
                got,
                Ok((kind, permissions)),
                "{name:?} {maker} {mode:o} {dos:x}"
            );
        }
    }

    #[test]
    fn doubtful_and_special_ones_are_refused() {
        for (name, maker, mode, dos, want) in [
            (&b"a"[..], 3, 0o010_644, 0, "is a FIFO"),
            (b"a", 3, 0o020_644, 0, "is a character device"),
            (b"a/", 3, 0o060_644, 0, "is a block device"),
            (b"a", 0, 0o140_644, 0, "is a socket"),
            (b"a", 3, 0o170_644, 0, "unknown type"),
            (b"a", 3, 0o040_755, 0, "a directory by its attributes"),
            (b"a", 0, 0, 0x10, "a directory by its attributes"),
            (b"a/", 3, 0o120_777, 0, "a symbolic link by its attributes"),
            (b"a", 0, 0o120_777, 0, "a symbolic link by its attributes"),
        ] {
            let got = judge(name, maker, mode, dos).unwrap_err();
            assert!(got.contains(want), "{name:?} {mode:o}: {got}");
        }
    }
}
