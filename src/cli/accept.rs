//! The files of `--accept`.

use std::path::PathBuf;

use crate::drift::accept::Exceptions;
use crate::drift::{Disk, Files as _};
use crate::error::{Error, ErrorKind, Result};

/// All exceptions of these files, each read by `parse`, which is given what messages call the file, and its text.
pub(super) fn exceptions(
    paths: &[PathBuf],
    parse: impl Fn(&str, &str) -> Result<Exceptions>,
) -> Result<Exceptions> {
    let mut exceptions = Exceptions::default();
    for path in paths {
        let shown = path.display().to_string();
        if Disk.kind(path).is_none() && path.exists() {
            return Err(
                Error::new(ErrorKind::Usage, "is no regular file: pipes are not read")
                    .about(shown)
                    .hint("write it to a file first"),
            );
        }
        if Disk.kind(path).is_none() {
            return Err(Error::new(ErrorKind::Usage, "there is no such file").about(shown));
        }
        let text = String::from_utf8(Disk.read(path)?).map_err(|_| {
            Error::new(ErrorKind::Usage, "is no text in UTF-8").about(shown.clone())
        })?;
        exceptions.extend(parse(&shown, &text)?);
    }
    Ok(exceptions)
}
