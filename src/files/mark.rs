//! The mark of an unpacked tree: an extended attribute of its root, so that `--force` knows what larder made and the
//! tree itself stays exactly the package's.

use std::os::fd::AsFd;

use rustix::fs::XattrFlags;

/// The attribute's name. Its value is the format's version.
const NAME: &str = "user.larder.unpacked";
const VALUE: &[u8] = b"1";

/// Marks a directory. Where the file system keeps no such attributes, the tree stays unmarked, and `--force` will
/// refuse to replace it.
pub(super) fn set(dir: impl AsFd) {
    if let Err(e) = rustix::fs::fsetxattr(dir, NAME, VALUE, XattrFlags::empty()) {
        tracing::debug!("the unpacked tree cannot be marked as larder's: {e}");
    }
}

/// Whether a directory is marked.
pub(super) fn is_set(dir: impl AsFd) -> bool {
    let mut value = [0; 8];
    rustix::fs::fgetxattr(dir, NAME, &mut value).is_ok_and(|length| &value[..length] == VALUE)
}
