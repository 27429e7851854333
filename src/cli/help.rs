//! What stands below the options in `--help` and in the man pages: examples and the table of exit codes.

use std::fmt::Write as _;

use anstyle::Style;
use clap::builder::StyledStr;

use super::exit;

/// What an example does, and the command line.
pub(super) type Example = (&'static str, &'static str);

/// The examples of `larder --help`.
pub(super) const EXAMPLES: &[Example] = &[
    (
        "Fetch a function to ./my-function",
        "larder fetch my-function",
    ),
    (
        "Fetch what an alias points to, with a profile",
        "larder --profile prod fetch my-function:live",
    ),
    (
        "Unpack a package that is already here",
        "larder unpack package.zip",
    ),
];

/// The line above the examples, by which `man.rs` finds them.
pub(super) const HEADING: &str = "Examples:";

/// The examples, and the exit codes: the whole table or where to find it.
pub(super) fn sections(examples: &[Example], exit_codes: bool) -> StyledStr {
    // As clap's own headings.
    let heading = Style::new().bold().underline();
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(out, "{heading}{HEADING}{heading:#}");
    for (i, (what, line)) in examples.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        let _ = writeln!(out, "{gap}  {what}:\n    {line}");
    }
    if exit_codes {
        let _ = write!(out, "\n{heading}Exit codes:{heading:#}\n{}", exit::table());
    } else {
        out.push_str("\nThe exit codes are listed in 'larder --help'.\n");
    }
    StyledStr::from(out.trim_end().to_owned())
}
