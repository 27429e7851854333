//! placeholder, replaced by the real module
#[derive(Debug, Clone)]
/// Bounds of an unpacking.
pub struct Limits {
    /// The most bytes written to regular files; default 250 MiB.
    pub max_unpacked_size: u64,
    /// What a name that stands twice means.
    pub duplicates: Duplicates,
}
/// What a name that stands twice in an archive with different contents means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// Refuse the archive.
    #[default]
    Refuse,
    /// The first entry counts.
    First,
    /// The last entry counts.
    Last,
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_unpacked_size: 250 << 20,
            duplicates: Duplicates::Refuse,
        }
    }
}
